"""What answers, pinned: releases are built from the configuration and addressed by digest."""
