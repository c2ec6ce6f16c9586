"""Every source of examples, once: its settings, and what opens it. To add one, add a line."""

from typing import TYPE_CHECKING

from storage.unions import union_of
from training.data.clips.config import ClipsData
from training.data.settings import DataSettings
from training.data.stems.config import StemsData
from training.data.windows.config import WindowsData

SOURCES: dict[type[DataSettings], str] = {
    ClipsData: "training.data.clips.source:open_sources",
    StemsData: "training.data.stems.source:open_sources",
    WindowsData: "training.data.windows.source:open_sources",
}
"""Settings -> `module:function`."""

if TYPE_CHECKING:
    DataConfig = DataSettings
else:
    DataConfig = union_of(SOURCES)
    """Any source's settings, distinguished by their `kind`."""
