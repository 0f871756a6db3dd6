"""What runs once per tick: moving journals into the record log, publishing plans."""
