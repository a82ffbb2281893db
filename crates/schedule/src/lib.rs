//! Schedules: cron() and rate() as EventBridge writes them, and when they are due.
