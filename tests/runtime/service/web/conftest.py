from live.leaks import nothing_stays

__all__ = ["nothing_stays"]
