"""The console and the admin API: reads records and status, writes intents."""
