"""Addresses of people, clients, profiles and exports."""

from django.urls import path

from advisors import views

app_name = "advisors"
urlpatterns = [
    path("clients/new", views.client_new, name="client_new"),
    path("clients/<uuid:public_id>/edit", views.client_edit, name="client_edit"),
    path("clients/<uuid:public_id>/profile", views.client_profile, name="client_profile"),
    path("clients/<uuid:public_id>/profile/change", views.client_term, name="client_term"),
    path("people", views.people, name="people"),
    path("people/new", views.member_new, name="member_new"),
    path("people/<uuid:public_id>/suspend", views.member_suspend, name="member_suspend"),
    path("people/<uuid:public_id>/restore", views.member_restore, name="member_restore"),
    path("people/assignments", views.assignments, name="assignments"),
    path("people/assignments/add", views.assign, name="assign"),
    path("people/assignments/end", views.unassign, name="unassign"),
    path("compliance/exports", views.exports, name="exports"),
    path("compliance/exports/request", views.export_request, name="export_request"),
    path("compliance/exports/status", views.export_status, name="export_status"),
    path("compliance/exports/<uuid:public_id>/download", views.export_download, name="export_download"),
]
