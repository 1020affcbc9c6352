"""A Raspberry Pi's core, emulated: how many instructions a frame takes. That is work, not time."""
