"""Questions about rules that no rule and no round asks: whom would other conventions believe, what does theory say."""
