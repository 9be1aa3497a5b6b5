// SPDX-License-Identifier: Apache-2.0
// What rabbitmq-c costs:
//   PROGRAM publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL
// Prints one JSON object, as `haredo bench ... --json` does.
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

void *allocate(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) die("out of memory");
  return memory;
}

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

double cpu_time(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

long warmup(const struct options *options) {
  long tenth = options->count / 10;
  return tenth < 1 ? 1 : tenth > 2000 ? 2000 : tenth;
}

static long number(const char *name, const char *text, long least, long most) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < least || value > most) {
    die("%s %s: a number from %ld to %ld is wanted", name, text, least, most);
  }
  return value;
}

static struct options parse(int argc, char **argv) {
  struct options options = {.count = -1, .size = 16, .concurrency = 1};
  if (argc < 2) die("usage: publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL");
  options.operation = argv[1];
  for (int i = 2; i < argc; i += 2) {
    const char *name = argv[i];
    if (i + 1 == argc) die("%s: a value is missing", name);
    const char *value = argv[i + 1];
    if (strcmp(name, "--count") == 0) options.count = number(name, value, 1, 100000000);
    else if (strcmp(name, "--size") == 0) options.size = (size_t)number(name, value, 0, 100000000);
    else if (strcmp(name, "--concurrency") == 0) options.concurrency = number(name, value, 1, 65535);
    else if (strcmp(name, "--broker") == 0) options.broker = value;
    else die("%s: no such option", name);
  }
  if (options.count < 0 || options.broker == NULL) die("--count and --broker are needed");
  return options;
}

static int ascending(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static double percentile(const double *sorted, long count, double share) {
  long index = (long)((double)count * share);
  return sorted[index < count ? index : count - 1];
}

int main(int argc, char **argv) {
  struct options options = parse(argc, argv);
  struct result result;
  if (strcmp(options.operation, "publish") == 0) result = publish(&options);
  else if (strcmp(options.operation, "consume") == 0) result = consume(&options);
  else if (strcmp(options.operation, "rpc") == 0) result = rpc(&options);
  else die("%s: no such operation", options.operation);

  printf("{\"operation\":\"%s\",\"count\":%ld,\"size\":%zu,\"concurrency\":%ld,\"executor\":\"thread\","
         "\"seconds\":%.6f,\"rate\":%.1f,\"cpu_us_per_message\":%.4f,\"latency_us\":",
         options.operation, options.count, options.size, options.concurrency, result.seconds,
         (double)options.count / result.seconds, result.cpu_seconds * 1e6 / (double)options.count);
  if (result.latencies == NULL) {
    puts("null}");
  } else {
    qsort(result.latencies, (size_t)options.count, sizeof(double), ascending);
    printf("{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}}\n", percentile(result.latencies, options.count, 0.5),
           percentile(result.latencies, options.count, 0.9), percentile(result.latencies, options.count, 0.99),
           result.latencies[options.count - 1]);
    free(result.latencies);
  }
  return 0;
}
