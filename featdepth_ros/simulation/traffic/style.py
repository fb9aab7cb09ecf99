"""Density and composition of the traffic, and the lanes of a road."""

from __future__ import annotations

from dataclasses import dataclass

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.scenes.highway import HIGHWAY_LANES_M
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.trajectories import camera_lane_m

#: Distance from the kerb that parked cars occupy, metres.
PARKED_M = 1.97
#: Half the width of the camera's own vehicle, and the least sideways distance of others from it, metres.
OWN_HALF_WIDTH_M = 0.9
#: Half widths of a car, and of a lorry or bus, metres.
CAR_HALF_WIDTH_M, LARGE_HALF_WIDTH_M = 0.93, 1.27


@dataclass(frozen=True)
class TrafficStyle:
    """Settings of the traffic around the camera.

    Attributes:
        along, against: vehicles per 100 m of each lane in the camera's direction, and in the opposite direction.
        large: share of lorries, buses and vans among them, 0 to 1.
        speed_mps: speeds of the slowest and the fastest lane, m/s.
        people: pedestrians per 100 m of each pavement and direction.
        jam: traffic jam: all lanes run in the camera's direction, close together, at nearly its speed; ``against`` and
            ``speed_mps`` are not used.
    """

    along: float = 2.0
    against: float = 2.5
    large: float = 0.35
    speed_mps: tuple[float, float] = (6.0, 14.0)
    jam: bool = False
    people: float = 0.0

    def __post_init__(self) -> None:
        if min(self.along, self.against, self.people) < 0 or not 0 <= self.large <= 1:
            raise ConfigError(
                f"traffic has along {self.along}, against {self.against}, people {self.people}, large {self.large}; "
                "expected densities of at least 0 and a share between 0 and 1"
            )
        if not 0 < self.speed_mps[0] <= self.speed_mps[1]:
            raise ConfigError(f"traffic has speeds {self.speed_mps}; expected two above 0, the lower first")


#: Traffic styles by name.
TRAFFIC: dict[str, TrafficStyle] = {"flow": TrafficStyle(), "jam": TrafficStyle(along=6.0, large=0.7, jam=True)}


def traffic_style(name: str) -> TrafficStyle:
    """Return a traffic style by its name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in TRAFFIC:
        raise ConfigError(f"there is no traffic '{name}'{nearest_name(name, TRAFFIC)}")
    return TRAFFIC[name]


@dataclass(frozen=True)
class Lane:
    """A lane of a road.

    Attributes:
        left_m: offset of its middle to the left of the road's centreline, metres.
        along: whether it runs in the camera's direction.
        own: whether the camera drives in it.
        half_width_m: half the width of the widest vehicle that fits, metres.
    """

    left_m: float
    along: bool
    own: bool
    half_width_m: float


def lanes_of(scene: Scene, jam: bool) -> list[Lane]:
    """Return the lanes that have room for vehicles, the camera's own first.

    Raises:
        ConfigError: the scene has no road.
    """
    road = scene.path
    if not isinstance(road, Road):
        raise ConfigError(f"traffic needs a scene with a road; '{scene.kind}' has none")
    own = camera_lane_m(road)
    if scene.kind in ("highway", "underpass"):
        return [Lane(left, left < 0.0 or jam, left == own, LARGE_HALF_WIDTH_M) for left in HIGHWAY_LANES_M]
    lanes = [Lane(own, True, True, road.half_width_m - PARKED_M + own)]
    other = min(1.9, road.half_width_m - 2.9)
    room = min(other - own - OWN_HALF_WIDTH_M - 0.1, road.half_width_m - PARKED_M - other)
    if room >= CAR_HALF_WIDTH_M:
        lanes.append(Lane(other, jam, False, room))
    return lanes
