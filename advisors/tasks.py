"""Background work of advisors."""

from advisors import services
from advisors.jobs import sweep


@sweep("export")
def export() -> int:
    return services.run_exports()
