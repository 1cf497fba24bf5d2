"""A browser signed in as a member, and the forms it sends."""

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from advisors.models import User
from tests.cast import CastFirm

POSITION = {
    "symbol": "BTCUSDT",
    "side": "long",
    "quantity": "0.5",
    "entry_price": "60000",
    "isolated_wallet": "3000",
    "external_id": "7",
}


def signed_in(firm: CastFirm, role: str = "advisor") -> Client:
    client = Client()
    client.force_login(User.objects.get(email=firm.email(role)))
    return client


def upload(browser: Client, content: bytes, name: str = "positions.csv") -> Any:
    return browser.post(reverse("portfolios:imports"), {"file": SimpleUploadedFile(name, content)})


def open_by_hand(browser: Client, shelf: Any, **changes: str) -> Any:
    data = {"account": str(shelf.account), **POSITION, **changes}
    return browser.post(reverse("portfolios:position_new", args=[shelf.portfolio]), data)
