"""Binance market data: wire messages, decoding, repair by id, REST and the live source."""
