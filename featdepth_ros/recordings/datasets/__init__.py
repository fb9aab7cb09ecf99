"""Layouts of public datasets: KITTI, EuRoC, TUM, 7-Scenes, NYU."""
