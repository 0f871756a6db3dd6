"""Model engines that Airboss runs itself: their weights, the engine, and whether it is well."""
