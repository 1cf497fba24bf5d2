"""What can be asked of the lists of margin, and the forms that people fill in."""

from margin.forms.levels import DaysForm, LevelsForm, TiersForm, TierVersionForm
from margin.forms.position_table import PositionFilterForm, SavedViewForm

__all__ = ["DaysForm", "LevelsForm", "PositionFilterForm", "SavedViewForm", "TierVersionForm", "TiersForm"]
