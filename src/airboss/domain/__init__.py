"""The nouns everything else is written in. Imports none of our other code."""
