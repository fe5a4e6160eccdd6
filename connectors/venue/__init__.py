"""A Binance-compatible venue on loopback that plays trades to any Binance client."""
