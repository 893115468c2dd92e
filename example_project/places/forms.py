"""What a logged-in visitor may edit."""

from django import forms

from .models import Town


class TownForm(forms.ModelForm):
    """A town's name and population."""

    class Meta:
        model = Town
        fields = ["name", "population"]
