"""Motion and structure from a window of keyframes: causal, for one camera, without ROS and without networks.

    from featdepth_ros.inference.window.config import WindowConfig
    from featdepth_ros.inference.window.window import Window

    window = Window(WindowConfig(scale="relative"))
    result = window.step(grey, camera, stamp_ns, depth=z_depth)

`Window.step` takes one rectified frame and returns a `WindowResult`. It contains the motion since the previous frame,
its covariance, and the depths of the visible points. The inputs beside the image select how the window works:

- ``depth``: z-depth of a network, correct up to one factor per keyframe; this is the default. It is an array, or a
  function that is called at keyframes only. With ``WindowConfig(prior="scale_and_shift", scale="relative")`` it is an
  *inverse* depth d of a relative network, with ``1 / z = scale d + shift``. The window estimates both for each keyframe
  from its points. `WindowResult.network` has them for the last keyframe; `prior.fit_inverse_depth` gives them for any
  frame from its points.
- no depth: the window waits in the state ``starting`` until two frames show parallax. It takes the motion between them
  from an essential matrix or a homography (`two_views`). Its unit is then the median depth of these frames.
- ``known_motion``: the motion is taken as given, and only points are estimated, with or without a network's depth.
- ``network_motion``: the motion of a pose network, used only if tracking fails. ``gyro_rotation`` and ``speed`` are
  optional measurements.
"""
