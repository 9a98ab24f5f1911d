"""City routing: `tokens`, the `original`'s generator and the `law` of ours, `routes`, `answers`, `build`."""
