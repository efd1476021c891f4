"""What a post's content tells before it is published: the audience's tone, its engagement, its fit to the channel."""
