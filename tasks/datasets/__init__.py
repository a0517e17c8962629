"""The data sets, by the names that an experiment uses."""

from hauberk.tasks.datasets.bbc_news import BbcNews
from hauberk.tasks.datasets.files import Files
from hauberk.tasks.datasets.hub import Hub
from hauberk.tasks.datasets.tweet_sentiment import TweetSentiment

DATASETS: dict[str, type] = {
    "tweet_sentiment": TweetSentiment,
    "bbc_news": BbcNews,
    "files": Files,
    "hub": Hub,
}

__all__ = ["DATASETS", "BbcNews", "Files", "Hub", "TweetSentiment"]
