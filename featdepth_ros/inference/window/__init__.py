"""Motion and structure from a window of keyframes: causal, one camera, no ROS, no networks inside.

    from featdepth_ros.inference.window.config import WindowConfig
    from featdepth_ros.inference.window.window import Window

    window = Window(WindowConfig(scale="relative"))
    result = window.step(grey, camera, stamp_ns, depth=z_depth)

`Window.step` takes one rectified frame and returns a `WindowResult`. It holds the motion since the frame before, its
covariance, and the points that the frame shows with their depths. What is known beside the picture decides how the
window works:

- ``depth``: z-depth of a network (an array, or a function that is called at keyframes only), right up to one factor a
  keyframe: the default. With ``WindowConfig(prior="scale_and_shift", scale="relative")`` it is an *inverse* depth d of
  a relative network, ``1 / z = scale d + shift``, both solved for each keyframe from the window's points.
  `WindowResult.network` gives them for the last keyframe, `prior.fit_inverse_depth` for any frame from its points.
- no depth at all: the window waits, state ``starting``, until two frames show parallax. It takes the motion between
  them from an essential matrix or a homography (`two_views`). Its unit is then the median depth of that start.
- ``known_motion``: the motion is taken as given and points alone are solved, with or without a network's depth.
- ``network_motion``: of a pose network, asked only where tracks fail. ``gyro_rotation`` and ``speed`` help where given.
"""
