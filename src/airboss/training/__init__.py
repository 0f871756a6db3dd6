"""LoRA adapters trained on this machine, in a process of their own, with the extra `finetune`."""
