"""What lets a worker that replays results do without torch, which takes 300 MB and seconds to import."""
