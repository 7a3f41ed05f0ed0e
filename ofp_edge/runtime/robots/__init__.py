"""The robots that ship: the SO-101 arm, and any robot that lives in a process of its own."""
