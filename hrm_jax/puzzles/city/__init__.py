"""City routing: its `tokens`, the `original`'s generator, the `law` of ours, `routes`, `answers` and `build`."""
