"""Results as one page that opens in any browser."""
