"""What a visitor who is logged in may change."""

from django import forms

from .models import Town


class TownForm(forms.ModelForm):
    """A town's name and people."""

    class Meta:
        model = Town
        fields = ["name", "population"]
