"""The data sets, by the names that an experiment uses."""

from hauberk.tasks.text.datasets.bbc_news import BbcNews
from hauberk.tasks.text.datasets.files import Files
from hauberk.tasks.text.datasets.hub import Hub
from hauberk.tasks.text.datasets.tweet_sentiment import TweetSentiment

DATASETS: dict[str, type] = {
    "tweet_sentiment": TweetSentiment,
    "bbc_news": BbcNews,
    "files": Files,
    "hub": Hub,
}

__all__ = ["DATASETS", "BbcNews", "Files", "Hub", "TweetSentiment"]
