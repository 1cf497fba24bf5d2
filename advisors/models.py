"""Tables of firms, people, clients, who answers for whom, the audit trail and exports."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Lower


class CurrentFirm(Func):
    """The firm of the scope in force; raises in the database when there is none."""

    function = "app_firm"
    template = "%(function)s()"
    arity = 0
    output_field = models.BigIntegerField()


class TenantModel(models.Model):
    """A row of one firm. The database fills the firm in and decides who sees the row."""

    firm_id = models.BigIntegerField(db_default=CurrentFirm(), editable=False)

    class Meta:
        abstract = True


class FirmRun(models.Model):
    """Global, worker only: which firms there are, and how often in a row a sweep of one did not finish."""

    firm_id = models.BigIntegerField(primary_key=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    # Every mark received by then was looked at for this firm; none before its first sweep.
    swept_to = models.DateTimeField(null=True)


class Firm(models.Model):
    public_id = models.UUIDField(default=uuid.uuid4, unique=True)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    is_demo = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractBaseUser):
    """Global: the credentials behind a member. Only advisors.accounts and its adapter import it."""

    email = models.EmailField(max_length=254)
    firm_id = models.BigIntegerField()
    member_id = models.BigIntegerField(null=True)
    role = models.CharField(max_length=16)
    is_active = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True)

    objects = UserManager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="advisors_user_email_unique"),
            models.CheckConstraint(
                condition=Q(role__in=["advisor", "compliance", "admin"]), name="advisors_user_role_known"
            ),
            models.CheckConstraint(
                condition=Q(is_active=True, disabled_at__isnull=True)
                | Q(is_active=False, disabled_at__isnull=False),
                name="advisors_user_active_or_disabled",
            ),
        ]

    def __str__(self) -> str:
        return self.email


class Member(TenantModel):
    """A person as the firm's pages show them."""

    public_id = models.UUIDField(default=uuid.uuid4)
    user_id = models.BigIntegerField()
    name = models.CharField(max_length=120)
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16)
    suspended_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="advisors_member_public"),
            models.UniqueConstraint(fields=["firm_id", "user_id"], name="advisors_member_user"),
        ]

    def __str__(self) -> str:
        return self.name


class Client(TenantModel):
    """Id, name, reference: all that an admin may read of a client."""

    public_id = models.UUIDField(default=uuid.uuid4)
    name = models.CharField(max_length=120)
    reference = models.CharField(max_length=40)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="advisors_client_public"),
            models.UniqueConstraint(fields=["firm_id", "reference"], name="advisors_client_reference"),
        ]

    def __str__(self) -> str:
        return self.name


class FormerValue(TenantModel):
    """Append-only: what a client, portfolio or account was called, or was set to, until it was changed."""

    client = models.ForeignKey(Client, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    subject = models.CharField(max_length=16)
    subject_key = models.BigIntegerField()
    field = models.CharField(max_length=16)
    value = models.CharField(max_length=120)
    until_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(subject="client", field__in=["name", "reference"])
                | Q(subject="portfolio", field="name")
                | Q(subject="account", field__in=["label", "auto_margin"]),
                name="advisors_formervalue_field_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["firm_id", "subject", "subject_key", "field", "until_at"],
                name="advisors_formervalue_asof",
            ),
        ]


class ClientProfile(TenantModel):
    """Append-only: one term of a client's profile (tolerance, category, a limit), from a day on, by whom and why."""

    client = models.ForeignKey(Client, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    term = models.CharField(max_length=32)
    # What was chosen, or the limit; a limit without a number is lifted.
    choice = models.CharField(max_length=32, blank=True, default="")
    limit = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    effective_from = models.DateField()
    recorded_at = models.DateTimeField()
    author = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    reason = models.CharField(max_length=500)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(limit__isnull=True) | Q(limit__gte=0, limit__lt=10**18),
                name="advisors_clientprofile_limit_sane",
            ),
        ]
        indexes = [
            models.Index(
                fields=["firm_id", "client", "term", "-effective_from", "-recorded_at"],
                name="advisors_clientprofile_force",
            ),
        ]


class Assignment(TenantModel):
    """Which advisor answers for which client, since when and until when."""

    client = models.ForeignKey(Client, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    member = models.ForeignKey(Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["firm_id", "client", "member"],
                condition=Q(until__isnull=True),
                name="advisors_assignment_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["firm_id", "member", "client"],
                condition=Q(until__isnull=True),
                name="advisors_assignment_now",
            ),
        ]


class AuditEntry(TenantModel):
    """Append-only: who did what to which object, before and after. Written by audit.record() alone."""

    at = models.DateTimeField()
    member_id = models.BigIntegerField(null=True)
    origin = models.CharField(max_length=16)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        indexes = [models.Index(fields=["firm_id", "-at"], name="advisors_audit_recent")]


class ExportJob(TenantModel):
    """One export asked for by a person: what, how far, where it lies and its digest."""

    public_id = models.UUIDField(default=uuid.uuid4)
    member = models.ForeignKey(Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    report = models.CharField(max_length=32)
    state = models.CharField(max_length=16, default="waiting")
    attempts = models.PositiveSmallIntegerField(default=0)
    rows_written = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    bytes_written = models.BigIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True, default="")
    requested_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="advisors_exportjob_public"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running", "done", "failed"]),
                name="advisors_exportjob_state_known",
            ),
        ]
        indexes = [
            models.Index(fields=["firm_id", "-requested_at"], name="advisors_exportjob_recent"),
            # The sweep asks every few seconds, and mostly nothing waits.
            models.Index(
                fields=["firm_id", "requested_at", "id"],
                condition=Q(state__in=["waiting", "running"]),
                name="advisors_exportjob_waiting",
            ),
        ]


class ApiToken(models.Model):
    """Global, read only through app_authenticate_token(): the digest of a token and whom it speaks for."""

    digest = models.BinaryField(max_length=32, unique=True)
    prefix = models.CharField(max_length=12)
    purpose = models.CharField(max_length=16)
    firm_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE)
    label = models.CharField(max_length=120)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    purpose__in=["read", "write"],
                    firm_id__isnull=False,
                    member_id__isnull=False,
                    user__isnull=False,
                )
                | Q(purpose="ingest", firm_id__isnull=True, member_id__isnull=True, user__isnull=True),
                name="advisors_apitoken_purpose",
            ),
        ]


class Heartbeat(models.Model):
    """Global: when each stage of the pipeline last started and finished."""

    stage = models.CharField(max_length=32, primary_key=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0)
    by = models.CharField(max_length=16, default="")
    rows = models.BigIntegerField(default=0)


class SavedView(TenantModel):
    """A list as somebody likes to see it: its name and its query, for themselves or for all who see such lists."""

    public_id = models.UUIDField(default=uuid.uuid4)
    member = models.ForeignKey(Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    page = models.CharField(max_length=16)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True)
    is_team = models.BooleanField(default=False)
    # What the page opens with when nothing else is asked for.
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="advisors_savedview_public"),
            models.UniqueConstraint(
                fields=["firm_id", "member", "page", "name"], name="advisors_savedview_name"
            ),
            models.UniqueConstraint(
                fields=["firm_id", "member", "page"],
                condition=Q(is_default=True),
                name="advisors_savedview_default",
            ),
        ]


class MemberLook(TenantModel):
    """When a member last looked at a page, and when the visit before that ended: what is new is newer than that."""

    member = models.ForeignKey(Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    page = models.CharField(max_length=16)
    looked_at = models.DateTimeField()
    since_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "member", "page"], name="advisors_memberlook_once"),
        ]
