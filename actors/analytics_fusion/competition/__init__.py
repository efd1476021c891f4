"""A channel among its competitors: who they are, how loud each is, and what they do that it does not."""
