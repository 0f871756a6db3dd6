"""Where state lives: records in a `RecordLog`, everything else in a `Ledger`."""
