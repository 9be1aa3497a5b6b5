#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% Lets RabbitMQ's own modules write the cases that encoders.py put into a file as terms; a line of hexadecimal each.
-mode(compile).
-define(FRAMING, rabbit_framing_amqp_0_9_1).
-define(GENERATOR, rabbit_binary_generator).

main([File | Paths]) ->
    ok = code:add_pathsa(Paths),
    {ok, Cases} = file:consult(File),
    [io:put_chars([hexadecimal(iolist_to_binary(encode(Case))), $\n]) || Case <- Cases].

encode(heartbeat) ->
    ?GENERATOR:build_heartbeat_frame();
encode({properties, Properties}) ->
    ?FRAMING:encode_properties(properties(Properties));
encode({method, Channel, Name, Arguments}) ->
    ?GENERATOR:build_simple_method_frame(Channel, method(Name, Arguments), ?FRAMING);
encode({content, Channel, Name, Arguments, Properties, Body, FrameMax}) ->
    %% The record #content of rabbit.hrl: class, properties, their bytes, protocol, fragments in reverse.
    Content = {content, 60, properties(Properties), none, ?FRAMING, [Body]},
    [encode({method, Channel, Name, Arguments}),
     ?GENERATOR:build_simple_content_frames(Channel, Content, FrameMax, ?FRAMING)].

method(Name, Arguments) ->
    set(?FRAMING:method_fieldnames(Name), Arguments, ?FRAMING:method_record(Name)).

properties(Properties) ->
    %% The record #'P_basic' of rabbit_framing.hrl.
    Names = [content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration,
             message_id, timestamp, type, user_id, app_id, cluster_id],
    set(Names, Properties, list_to_tuple(['P_basic' | [undefined || _ <- Names]])).

set(Names, Values, Record) ->
    Positions = maps:from_list(lists:zip(Names, lists:seq(2, length(Names) + 1))),
    lists:foldl(
      fun({Name, Value}, Acc) -> setelement(maps:get(Name, Positions), Acc, Value) end, Record, Values).

hexadecimal(Binary) ->
    [io_lib:format("~2.16.0b", [Octet]) || <<Octet>> <= Binary].
