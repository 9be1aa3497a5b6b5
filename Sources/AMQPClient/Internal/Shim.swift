extension AMQPConfiguration { var addresses: [Address] { [self.address] } }
