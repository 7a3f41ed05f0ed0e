"""What a Jetson Orin reports about itself: board, JetPack, power, clocks, temperatures,
throttling."""
