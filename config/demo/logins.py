"""The demo's ten logins: two firms, three roles. They are printed at the start and open nothing else."""

from typing import NamedTuple

from advisors.roles import Role

NORTHGATE = "Northgate Advisers"
ASHCOMBE = "Ashcombe Partners"


class DemoLogin(NamedTuple):
    """Someone who can sign in to the demo."""

    firm: str
    role: str
    name: str
    email: str
    password: str


DEMO_LOGINS: tuple[DemoLogin, ...] = tuple(
    DemoLogin(firm, role.value, name, email, password)
    for firm, role, name, email, password in (
        (NORTHGATE, Role.ADVISOR, "Ines Duarte", "ines@northgate.example", "northgate-advisor-demo-1"),
        (NORTHGATE, Role.ADVISOR, "Maya Adeyemi", "maya@northgate.example", "northgate-advisor-demo-2"),
        (NORTHGATE, Role.ADVISOR, "Stefan Varga", "stefan@northgate.example", "northgate-advisor-demo-3"),
        (NORTHGATE, Role.COMPLIANCE, "Rosa Mbeki", "rosa@northgate.example", "northgate-compliance-demo"),
        (NORTHGATE, Role.ADMIN, "Hanna Voss", "hanna@northgate.example", "northgate-admin-demo"),
        (ASHCOMBE, Role.ADVISOR, "Callum Reyes", "callum@ashcombe.example", "ashcombe-advisor-demo-1"),
        (ASHCOMBE, Role.ADVISOR, "Freya Lindholm", "freya@ashcombe.example", "ashcombe-advisor-demo-2"),
        (ASHCOMBE, Role.ADVISOR, "Tomasz Wren", "tomasz@ashcombe.example", "ashcombe-advisor-demo-3"),
        (ASHCOMBE, Role.COMPLIANCE, "Judith Amsel", "judith@ashcombe.example", "ashcombe-compliance-demo"),
        (ASHCOMBE, Role.ADMIN, "Owen Tarrant", "owen@ashcombe.example", "ashcombe-admin-demo"),
    )
)
