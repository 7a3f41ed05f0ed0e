"""One TOML file a robot: its cameras, driver, timing, engine, limits."""
