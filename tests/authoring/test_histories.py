"""
Changes of models that put a backfill among other operations, from rows to rows.

Each was asked about in public, or found in a project. Django alone is the witness of
the values: it reads them with the new models, in a process without the migrations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.conftest import use_alias
from tests.support import servers
from tests.support.site import Site

Models = str | Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """
    One change.

    Args:
        before (str or Mapping): models.py of the app, or of each app.
        after (str or Mapping): The same, changed.
        functions (Mapping): Body of each function by its name.
        rows (str): Python that makes the rows, with the old models imported.
        files (Sequence): The new migrations and their operations, as printed.
        show (str): Python expression of what to compare, with the new models.
        shown (str): What it is to be.
        answers (str): What is typed when Django asks.
        back (str): Python expression of what is there after the way back, with the
            old models; "" where Django cannot bring back what it has removed.
        shown_back (str): What it is to be.
        stub (str): Docstring of the first function; "" where it is told elsewhere.
        not_yet (str or Sequence): Why it cannot be rehearsed with the migrations before
            it, or why each cannot.
    """

    before: Models
    after: Models
    functions: Mapping[str, str]
    rows: str
    files: Sequence[str]
    show: str
    shown: str
    answers: str = ""
    back: str = ""
    shown_back: str = ""
    stub: str = ""
    not_yet: str | Sequence[str] = ""


PLACE = """\
class Place(models.Model):
    name = models.CharField(max_length=50)
"""
RESTAURANT = """\
class Restaurant(Place):
    cuisine = models.CharField(max_length=80, blank=True)
"""
FOOD = "    food = models.CharField(max_length=80)\n"
PROFILE = """\
class Profile(models.Model):
    user = models.OneToOneField(User, models.CASCADE, primary_key=True)
    phone = models.CharField(max_length=80)
"""
USER = "class User(models.Model):\n    name = models.CharField(max_length=50)\n"
MOVIE = "class Movie(models.Model):\n    title = models.CharField(max_length=50)\n"
STUDIO = "class Studio(models.Model):\n    name = models.CharField(max_length=50)\n"
DOUBLED = """\
    doubled = models.GeneratedField(
        expression=models.F("{}") * 2,
        output_field=models.IntegerField(),
        db_persist=True,
    )
"""
LABEL = "class Label(models.Model):\n    tag = models.CharField(max_length=50)\n"
LEADS_BACK = """\
    {} = models.ForeignKey(Studio, models.CASCADE, related_name='films')
"""
ADDRESS = "    address = models.CharField(max_length=80{})\n"
TITLES = 'for title in "abc": Movie.objects.create(title=title)\n'
STUDIOS = 'for name in "xyz": Studio.objects.create(name=name)\n'
SHOW_STUDIOS = 'list(Movie.objects.order_by("pk").values_list("{}", flat=True))'

#: F1: what a row leads to has its key when the function is called.
KEYS: dict[str, Case] = {
    "profile_into_user": Case(
        before=USER + PROFILE,
        after=USER + "    phone = models.CharField(max_length=80)\n",
        functions={"populate_user_phone": "return user.profile.phone"},
        rows='for n in "ab":\n    Profile.objects.create(user=User.objects.create('
        "name=n), phone=n * 3)\n",
        files=[
            "0002_user_phone.py",
            "+ Add field phone to user, backfilled by populate_user_phone",
            "0003_delete_profile.py",
            "- Delete model Profile",
        ],
        show='list(User.objects.order_by("pk").values_list("name", "phone"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        back='[list(User.objects.order_by("pk").values_list("name")), '
        "list(Profile.objects.all())]",
        shown_back="[[('a',), ('b',)], []]",
    ),
    "child_into_parent": Case(
        before=PLACE + RESTAURANT,
        after=PLACE + FOOD,
        functions={"populate_place_food": "return place.restaurant.cuisine"},
        rows='for n in "ab": Restaurant.objects.create(name=n, cuisine=n * 3)\n',
        files=[
            "0002_place_food.py",
            "+ Add field food to place, backfilled by populate_place_food",
            "0003_delete_restaurant.py",
            "- Delete model Restaurant",
        ],
        show='list(Place.objects.order_by("pk").values_list("name", "food"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        back='list(Place.objects.order_by("pk").values_list("name"))',
        shown_back="[('a',), ('b',)]",
    ),
    "child_goes_meanwhile": Case(
        before=PLACE + RESTAURANT + MOVIE,
        after=PLACE + MOVIE + "    slug = models.SlugField()\n",
        functions={
            "populate_movie_slug": 'kitchen = apps.get_model("films", "Restaurant")\n'
            "    return kitchen.objects.get(name=movie.title).cuisine"
        },
        rows=TITLES
        + 'for n in "abc": Restaurant.objects.create(name=n, cuisine=n * 3)\n',
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_delete_restaurant.py",
            "- Delete model Restaurant",
        ],
        show='list(Movie.objects.order_by("pk").values_list("slug", flat=True))',
        shown="['aaa', 'bbb', 'ccc']",
    ),
    "table_of_another_app": Case(
        before={
            "films": MOVIE,
            "shops": "from films.models import Movie\n\n\nclass Offer(models.Model):\n"
            "    movie = models.OneToOneField(Movie, models.CASCADE, "
            "primary_key=True)\n    price = models.IntegerField()\n",
        },
        after={"films": MOVIE + "    price = models.IntegerField()\n", "shops": ""},
        functions={"populate_movie_price": "return movie.offer.price"},
        rows="from shops.models import Offer\n"
        + TITLES
        + "for movie in Movie.objects.all(): "
        "Offer.objects.create(movie=movie, price=movie.pk * 10)\n",
        files=[
            "0002_movie_price.py",
            "+ Add field price to movie, backfilled by populate_movie_price",
            "0002_delete_offer.py",
            "- Delete model Offer",
        ],
        show='list(Movie.objects.order_by("pk").values_list("price", flat=True))',
        shown="[10, 20, 30]",
    ),
    "many_to_many_goes": Case(
        before=STUDIO + MOVIE + "    studios = models.ManyToManyField(Studio)\n",
        after=STUDIO + "    best = models.CharField(max_length=50)\n" + MOVIE,
        functions={"populate_studio_best": "return studio.movie_set.get().title"},
        rows=TITLES
        + STUDIOS
        + "for s in Studio.objects.all(): Movie.objects.get(pk=s.pk).studios.add(s)\n",
        files=[
            "0002_studio_best.py",
            "+ Add field best to studio, backfilled by populate_studio_best",
            "0003_remove_movie_studios.py",
            "- Remove field studios from movie",
        ],
        show='list(Studio.objects.order_by("pk").values_list("best", flat=True))',
        shown="['a', 'b', 'c']",
        back="Movie.studios.through.objects.count()",
        shown_back="0",
    ),
    "text_is_cut": Case(
        before=MOVIE,
        after=MOVIE.replace("50", "2") + "    slug = models.SlugField()\n",
        functions={"populate_movie_slug": "return movie.title.lower()"},
        rows='Movie.objects.create(title="AB")\n',
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_alter_movie_title.py",
            "~ Alter field title on movie",
        ],
        show='list(Movie.objects.values_list("title", "slug"))',
        shown="[('AB', 'ab')]",
        back='list(Movie.objects.values_list("title"))',
        shown_back="[('AB',)]",
    ),
    "primary_key_replaced": Case(
        before=MOVIE,
        after=MOVIE
        + "    code = models.IntegerField(primary_key=True)\n"
        + "    slug = models.SlugField()\n",
        functions={"populate_movie_slug": 'return f"film-{movie.id}"'},
        rows='Movie.objects.create(title="a")\n',
        answers="1\n7\n",
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_remove_movie_id_movie_code.py",
            "- Remove field id from movie",
            "+ Add field code to movie",
        ],
        show='list(Movie.objects.values_list("code", "slug"))',
        shown="[(7, 'film-1')]",
    ),
}

#: F2 and F3: what has the name of the new field can be read under another one.
NAMES: dict[str, Case] = {
    "child_and_field_into_parent": Case(
        before=PLACE + RESTAURANT.replace("cuisine", "food"),
        after=PLACE + FOOD,
        functions={"populate_place_food": "return place.restaurant.old_food"},
        rows='for n in "ab": Restaurant.objects.create(name=n, food=n * 3)\n',
        files=[
            "0002_alter_restaurant_food_and_more.py",
            "~ Alter field food on restaurant",
            "~ Rename field food on restaurant to old_food",
            "0003_place_food.py",
            "+ Add field food to place, backfilled by populate_place_food",
            "0004_delete_restaurant.py",
            "- Delete model Restaurant",
        ],
        show='list(Place.objects.order_by("pk").values_list("name", "food"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        stub="""\
    Return the food of one existing place.

    Fields to build it from: id, name.
    Restaurant.food is called old_food until it is removed.
""",
        back='list(Place.objects.order_by("pk").values_list("name"))',
        shown_back="[('a',), ('b',)]",
    ),
    "up": Case(
        before=PLACE + "class Restaurant(Place):\n" + ADDRESS.format(", blank=True"),
        after=PLACE + ADDRESS.format("") + "class Restaurant(Place):\n    pass\n",
        functions={"populate_place_address": "return place.restaurant.old_address"},
        rows='for n in "ab": Restaurant.objects.create(name=n, address=n * 3)\n',
        files=[
            "0002_alter_restaurant_address_and_more.py",
            "~ Alter field address on restaurant",
            "~ Rename field address on restaurant to old_address",
            "0003_place_address.py",
            "+ Add field address to place, backfilled by populate_place_address",
            "0004_remove_restaurant_old_address.py",
            "- Remove field old_address from restaurant",
        ],
        show='list(Restaurant.objects.order_by("pk").values_list("name", "address"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        stub="""\
    Return the address of one existing place.

    Fields to build it from: id, name.
    Restaurant.address is called old_address until it is removed.
""",
        back='list(Restaurant.objects.order_by("pk").values_list("name", "address"))',
        shown_back="[('a', ''), ('b', '')]",
    ),
    "down": Case(
        before=PLACE
        + ADDRESS.format(", blank=True")
        + "class Restaurant(Place):\n    pass\n",
        after=PLACE + "class Restaurant(Place):\n" + ADDRESS.format(""),
        functions={"populate_restaurant_address": "return restaurant.old_address"},
        rows='for n in "ab": Restaurant.objects.create(name=n, address=n * 3)\n',
        files=[
            "0002_alter_place_address_rename_address_place_old_address.py",
            "~ Alter field address on place",
            "~ Rename field address on place to old_address",
            "0003_restaurant_address.py",
            "+ Add field address to restaurant, backfilled by "
            "populate_restaurant_address",
            "0004_remove_place_old_address.py",
            "- Remove field old_address from place",
        ],
        show='list(Restaurant.objects.order_by("pk").values_list("name", "address"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        stub="""\
    Return the address of one existing restaurant.

    Fields to build it from: id, place_ptr, name, old_address.
    Place.address is called old_address until it is removed.
""",
        back='list(Restaurant.objects.order_by("pk").values_list("name", "address"))',
        shown_back="[('a', ''), ('b', '')]",
    ),
    "down_in_another_app": Case(
        before={
            "films": PLACE + ADDRESS.format(", blank=True"),
            "shops": "from films.models import Place\n\n\n"
            "class Bistro(Place):\n    pass\n",
        },
        after={
            "films": PLACE,
            "shops": "from films.models import Place\n\n\n"
            "class Bistro(Place):\n" + ADDRESS.format(""),
        },
        functions={"populate_bistro_address": "return bistro.old_address"},
        rows='for n in "ab": Bistro.objects.create(name=n, address=n * 3)\n',
        files=[
            "0002_alter_place_address_rename_address_place_old_address.py",
            "~ Alter field address on place",
            "~ Rename field address on place to old_address",
            "0003_remove_place_old_address.py",
            "- Remove field old_address from place",
            "0002_bistro_address.py",
            "+ Add field address to bistro, backfilled by populate_bistro_address",
        ],
        show='list(Bistro.objects.order_by("pk").values_list("name", "address"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        back='list(Bistro.objects.order_by("pk").values_list("name", "address"))',
        shown_back="[('a', ''), ('b', '')]",
    ),
    "down_two_steps": Case(
        before=PLACE
        + ADDRESS.format(", blank=True")
        + "class Restaurant(Place):\n    pass\n"
        + "class Bistro(Restaurant):\n    pass\n",
        after=PLACE
        + "class Restaurant(Place):\n    pass\n"
        + "class Bistro(Restaurant):\n"
        + ADDRESS.format(""),
        functions={"populate_bistro_address": "return bistro.old_address"},
        rows='for n in "ab": Bistro.objects.create(name=n, address=n * 3)\n',
        files=[
            "0002_alter_place_address_rename_address_place_old_address.py",
            "~ Alter field address on place",
            "~ Rename field address on place to old_address",
            "0003_bistro_address.py",
            "+ Add field address to bistro, backfilled by populate_bistro_address",
            "0004_remove_place_old_address.py",
            "- Remove field old_address from place",
        ],
        show='list(Bistro.objects.order_by("pk").values_list("name", "address"))',
        shown="[('a', 'aaa'), ('b', 'bbb')]",
        back='list(Bistro.objects.order_by("pk").values_list("name", "address"))',
        shown_back="[('a', ''), ('b', '')]",
    ),
    "one_to_one": Case(
        before=MOVIE
        + "class Rating(models.Model):\n"
        + "    movie = models.OneToOneField(Movie, models.CASCADE)\n"
        + "    stars = models.IntegerField()\n",
        after=MOVIE + "    rating = models.IntegerField()\n",
        functions={"populate_movie_rating": "return movie.old_rating.stars"},
        rows=TITLES + "for movie in Movie.objects.all(): "
        "Rating.objects.create(movie=movie, stars=movie.pk + 2)\n",
        files=[
            "0002_alter_rating_movie.py",
            "~ Alter field movie on rating",
            "0003_movie_rating.py",
            "+ Add field rating to movie, backfilled by populate_movie_rating",
            "0004_delete_rating.py",
            "- Delete model Rating",
        ],
        show='list(Movie.objects.order_by("pk").values_list("rating", flat=True))',
        shown="[3, 4, 5]",
        stub="""\
    Return the rating of one existing movie.

    Fields to build it from: id, title.
    Rating.movie leads back as old_rating until it is removed.
""",
        back="Movie.objects.count()",
        shown_back="3",
    ),
    "related_name": Case(
        before=MOVIE
        + "class Tag(models.Model):\n"
        + "    movie = models.ForeignKey(Movie, models.CASCADE, related_name='tags')\n"
        + "    name = models.CharField(max_length=9)\n",
        after=MOVIE + "    tags = models.JSONField()\n",
        functions={
            "populate_movie_tags": "return [tag.name for tag in movie.old_tags.all()]"
        },
        rows=TITLES + 'for name in "pq": '
        "Tag.objects.create(movie=Movie.objects.all()[0], name=name)\n",
        files=[
            "0002_alter_tag_movie.py",
            "~ Alter field movie on tag",
            "0003_movie_tags.py",
            "+ Add field tags to movie, backfilled by populate_movie_tags",
            "0004_delete_tag.py",
            "- Delete model Tag",
        ],
        show='list(Movie.objects.order_by("pk").values_list("tags", flat=True))',
        shown="[['p', 'q'], [], []]",
        back="Movie.objects.count()",
        shown_back="3",
    ),
    "name_in_queries": Case(
        before=MOVIE
        + "class Genre(models.Model):\n"
        + "    movie = models.ForeignKey(Movie, models.CASCADE, null=True)\n"
        + "    name = models.CharField(max_length=9)\n",
        after=MOVIE
        + "    genre = models.CharField(max_length=9)\n"
        + "class Genre(models.Model):\n"
        + "    name = models.CharField(max_length=9)\n",
        functions={"populate_movie_genre": "return movie.genre_set.get().name"},
        rows=TITLES + "for movie in Movie.objects.all(): "
        "Genre.objects.create(movie=movie, name=movie.title * 2)\n",
        files=[
            "0002_movie_genre.py",
            "+ Add field genre to movie, backfilled by populate_movie_genre",
            "0003_remove_genre_movie.py",
            "- Remove field movie from genre",
        ],
        show='list(Movie.objects.order_by("pk").values_list("genre", flat=True))',
        shown="['aa', 'bb', 'cc']",
        back="list(Genre.objects.order_by('pk').values_list('name', 'movie'))",
        shown_back="[('aa', None), ('bb', None), ('cc', None)]",
    ),
    "key_becomes_a_text": Case(
        before=STUDIO + MOVIE + LEADS_BACK.format("studio"),
        after=STUDIO
        + "    films = models.IntegerField()\n    more = models.IntegerField()\n"
        + MOVIE
        + "    studio = models.CharField(max_length=9)\n",
        functions={
            "populate_studio_films": "return 40 + studio.old_films.count()",
            "populate_studio_more": "return studio.films + studio.old_films.count()",
        },
        rows=STUDIOS + 'for title in "ab": '
        "Movie.objects.create(title=title, studio=Studio.objects.first())\n",
        files=[
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie",
            "0003_studio_films.py",
            "+ Add field films to studio, backfilled by populate_studio_films",
            "0004_studio_more.py",
            "+ Add field more to studio, backfilled by populate_studio_more",
            "0005_alter_movie_studio.py",
            "~ Alter field studio on movie",
        ],
        show='[list(Studio.objects.order_by("pk").values_list("films", "more")), '
        'list(Movie.objects.values_list("studio", flat=True))]',
        shown="[[(42, 44), (40, 40), (40, 40)], ['1', '1']]",
        stub="""\
    Return the films of one existing studio.

    Fields to build it from: id, name.
    Movie.studio leads back as old_films until it is altered.
""",
        back="[movie.studio.name for movie in Movie.objects.all()]",
        shown_back="['x', 'x']",
    ),
    "key_to_itself_becomes_a_required_number": Case(
        before="class Node(models.Model):\n"
        "    parent = models.ForeignKey('self', models.CASCADE, null=True, "
        "related_name='children')\n",
        after="class Node(models.Model):\n"
        "    parent = models.IntegerField()\n    children = models.IntegerField()\n",
        functions={
            "populate_node_children": "return node.old_children.count()",
            "populate_node_parent": "return -node.children",
        },
        rows="node = None\nfor _ in 1, 2, 3: node = Node.objects.create(parent=node)\n",
        files=[
            "0002_alter_node_parent.py",
            "~ Alter field parent on node",
            "0003_node_children.py",
            "+ Add field children to node, backfilled by populate_node_children",
            "0004_alter_node_parent.py",
            "~ Alter field parent on node, backfilled by populate_node_parent",
        ],
        show='list(Node.objects.order_by("pk").values_list("parent", "children"))',
        shown="[(-1, 1), (1, 1), (2, 0)]",
    ),
    "key_becomes_many_to_many_and_its_reverse_a_field": Case(
        before=STUDIO
        + MOVIE
        + LEADS_BACK.format("studio").replace("'films'", "'films', null=True"),
        after=STUDIO
        + "    films = models.IntegerField()\n"
        + MOVIE
        + "    studio = models.ManyToManyField(Studio)\n",
        functions={"populate_studio_films": "return 40 + studio.old_films.count()"},
        rows=STUDIOS + 'for title in "ab": '
        "Movie.objects.create(title=title, studio=Studio.objects.first())\n",
        files=[
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie",
            "0003_studio_films.py",
            "+ Add field films to studio, backfilled by populate_studio_films",
            "0004_remove_movie_studio_movie_studio.py",
            "- Remove field studio from movie",
            "+ Add field studio to movie",
        ],
        show='[list(Studio.objects.order_by("pk").values_list("films", flat=True)), '
        "Movie.objects.filter(studio=1).count()]",
        shown="[[42, 40, 40], 0]",
        back="[movie.studio for movie in Movie.objects.all()]",
        shown_back="[None, None]",
    ),
    "new_model_leads_back_by_an_old_name": Case(
        before=MOVIE + "    notes = models.CharField(max_length=9)\n",
        after=MOVIE
        + "    slug = models.SlugField(unique=True)\n"
        + "class Note(models.Model):\n"
        + "    movie = models.ForeignKey(Movie, models.CASCADE, related_name='notes')\n"
        + "    text = models.CharField(max_length=9)\n",
        functions={"populate_movie_slug": "return movie.old_notes"},
        rows='for n in "ab": Movie.objects.create(title=n, notes=n * 2)\n',
        files=[
            "0002_alter_movie_notes_rename_notes_movie_old_notes_note.py",
            "~ Alter field notes on movie",
            "~ Rename field notes on movie to old_notes",
            "+ Create model Note",
            "0003_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0004_remove_movie_old_notes.py",
            "- Remove field old_notes from movie",
        ],
        show="[(movie.slug, movie.notes.count()) for movie in Movie.objects.all()]",
        shown="[('aa', 0), ('bb', 0)]",
    ),
    "another_key_leads_back_by_the_same_name": Case(
        before=STUDIO + MOVIE + LEADS_BACK.format("studio"),
        after=STUDIO + MOVIE + LEADS_BACK.format("maker"),
        functions={
            "populate_movie_maker": 'model = apps.get_model("films", "Studio")\n'
            "    return model.objects.get(old_films=movie.pk)"
        },
        rows=STUDIOS + 'for title, pk in ("a", 3), ("b", 2): '
        "Movie.objects.create(title=title, studio_id=pk)\n",
        answers="n\n",
        files=[
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie",
            "0003_movie_maker.py",
            "+ Add field maker to movie, backfilled by populate_movie_maker",
            "0004_remove_movie_studio.py",
            "- Remove field studio from movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("maker__name", flat=True))',
        shown="['z', 'y']",
    ),
    "reverse_of_many_to_many": Case(
        before=MOVIE
        + "class Actor(models.Model):\n"
        + "    name = models.CharField(max_length=9)\n"
        + "    movies = models.ManyToManyField(Movie, related_name='cast')\n",
        after=MOVIE
        + "    cast = models.CharField(max_length=9)\n"
        + "class Actor(models.Model):\n"
        + "    name = models.CharField(max_length=9)\n",
        functions={"populate_movie_cast": "return movie.old_cast.get().name"},
        rows=TITLES + "for movie in Movie.objects.all(): "
        "movie.cast.create(name=movie.title * 2)\n",
        files=[
            "0002_alter_actor_movies.py",
            "~ Alter field movies on actor",
            "0003_movie_cast.py",
            "+ Add field cast to movie, backfilled by populate_movie_cast",
            "0004_remove_actor_movies.py",
            "- Remove field movies from actor",
        ],
        show='list(Movie.objects.order_by("pk").values_list("cast", flat=True))',
        shown="['aa', 'bb', 'cc']",
        back="list(Actor.objects.order_by('pk').values_list('name', 'movies'))",
        shown_back="[('aa', None), ('bb', None), ('cc', None)]",
    ),
    "many_to_many_becomes_a_key": Case(
        before=STUDIO + MOVIE + "    studio = models.ManyToManyField(Studio)\n",
        after=STUDIO + MOVIE + "    studio = models.ForeignKey(Studio, "
        "models.CASCADE)\n",
        functions={"populate_movie_studio": "return movie.old_studio.get()"},
        rows=TITLES
        + STUDIOS
        + "for m in Movie.objects.all(): m.studio.add(4 - m.pk)\n",
        files=[
            "0002_rename_studio_movie_old_studio_and_more.py",
            "~ Rename field studio on movie to old_studio",
            "~ Alter field old_studio on movie",
            "0003_movie_studio.py",
            "+ Add field studio to movie, backfilled by populate_movie_studio",
            "0004_remove_movie_old_studio.py",
            "- Remove field old_studio from movie",
        ],
        show=SHOW_STUDIOS.format("studio__name"),
        shown="['z', 'y', 'x']",
        stub="""\
    Return the studio of one existing movie.

    Fields to build it from: id, title.
    Movie.studio leads back as old_movie_set and is called old_studio until it
    is removed.
""",
        back="Movie.studio.through.objects.count()",
        shown_back="0",
    ),
    "number_becomes_a_key_by_another_name": Case(
        before=STUDIO + MOVIE + "    studio_id = models.IntegerField(default=1)\n",
        after=STUDIO + MOVIE + "    studio = models.ForeignKey(Studio, "
        "models.CASCADE)\n",
        functions={"populate_movie_studio": "return movie.old_studio_id"},
        rows=STUDIOS + "for n in 1, 2, 3: Movie.objects.create(title=n, studio_id=n)\n",
        files=[
            "0002_rename_studio_id_movie_old_studio_id.py",
            "~ Rename field studio_id on movie to old_studio_id",
            "0003_movie_studio.py",
            "+ Add field studio to movie, backfilled by populate_movie_studio",
            "0004_remove_movie_old_studio_id.py",
            "- Remove field old_studio_id from movie",
        ],
        show=SHOW_STUDIOS.format("studio__name"),
        shown="['x', 'y', 'z']",
        not_yet="films.Movie.studio cannot be rehearsed yet, because "
        "films.0002_rename_studio_id_movie_old_studio_id is to change column "
        "films_movie.studio_id. Apply films.0002_rename_studio_id_movie_old_studio_id "
        "first.",
        back='list(Movie.objects.values_list("studio_id", flat=True))',
        shown_back="[1, 1, 1]",
    ),
    "column_is_taken": Case(
        before=MOVIE + "    old = models.CharField(max_length=9, db_column='code', "
        "blank=True, db_index=True)\n",
        after=MOVIE + "    new = models.IntegerField(db_column='code')\n"
        "    note = models.CharField(max_length=9, null=True)\n",
        functions={"populate_movie_new": "return int(movie.old)"},
        rows='for n in 7, 8: Movie.objects.create(title="t", old=n)\n',
        files=[
            "0002_alter_movie_old_movie_note.py",
            "~ Alter field old on movie",
            "+ Add field note to movie",
            "0003_movie_new.py",
            "+ Add field new to movie, backfilled by populate_movie_new",
            "0004_remove_movie_old.py",
            "- Remove field old from movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("new", flat=True))',
        shown="[7, 8]",
        not_yet="films.Movie.new cannot be rehearsed yet, because "
        "films.0002_alter_movie_old_movie_note is to change column films_movie.code. "
        "Apply films.0002_alter_movie_old_movie_note first.",
        back='list(Movie.objects.values_list("old", flat=True))',
        shown_back="['', '']",
    ),
    # Its index, its constraint and that for LIKE have the names of the new ones.
    "keys_of_the_column_are_taken": Case(
        before=STUDIO
        + MOVIE
        + "    studio_id = models.IntegerField(db_index=True, default=1)\n"
        + "    old = models.SlugField(unique=True, db_column='code')\n",
        after=STUDIO
        + MOVIE
        + "    studio = models.ForeignKey(Studio, models.CASCADE)\n"
        + "    new = models.SlugField(unique=True, max_length=80, db_column='code')\n",
        functions={
            "populate_movie_studio": "return movie.old_studio_id",
            "populate_movie_new": "return movie.old + '-new'",
        },
        rows=STUDIOS + "for n in 1, 2, 3: Movie.objects.create(title=n, studio_id=n, "
        "old=n)\n",
        files=[
            "0002_alter_movie_old_rename_studio_id_movie_old_studio_id_and_more.py",
            "~ Alter field old on movie",
            "~ Rename field studio_id on movie to old_studio_id",
            "~ Alter field old_studio_id on movie",
            "0003_movie_new.py",
            "+ Add field new to movie, backfilled by populate_movie_new",
            "0004_movie_studio.py",
            "+ Add field studio to movie, backfilled by populate_movie_studio",
            "0005_remove_movie_old_remove_movie_old_studio_id.py",
            "- Remove field old from movie",
            "- Remove field old_studio_id from movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("studio__name", "new"))',
        shown="[('x', '1-new'), ('y', '2-new'), ('z', '3-new')]",
        not_yet=[
            f"films.Movie.{name} cannot be rehearsed yet, because "
            "films.0002_alter_movie_old_rename_studio_id_movie_old_studio_id_and_more "
            "is to change column films_movie.code. Apply "
            "films.0002_alter_movie_old_rename_studio_id_movie_old_studio_id_and_more "
            "first."
            for name in ("new", "studio")
        ],
    ),
    "index_over_what_is_set_aside": Case(
        before=MOVIE
        + "    code = models.CharField(max_length=9, blank=True)\n"
        + "    class Meta:\n"
        + "        unique_together = [('title', 'code')]\n"
        + "        indexes = [models.Index(fields=['code'], name='by_code')]\n"
        + "class Short(Movie):\n    pass\n",
        after=MOVIE
        + "class Short(Movie):\n"
        + "    code = models.CharField(max_length=9)\n"
        + "    class Meta:\n"
        + "        indexes = [models.Index(fields=['code'], name='by_code')]\n",
        functions={"populate_short_code": "return short.old_code"},
        rows='for n in "ab": Short.objects.create(title="t", code=n)\n',
        files=[
            "0002_remove_movie_by_code_alter_movie_unique_together_and_more.py",
            "- Remove index by_code from movie",
            "~ Alter unique_together for movie (0 constraint(s))",
            "~ Alter field code on movie",
            "~ Rename field code on movie to old_code",
            "0003_short_code.py",
            "+ Add field code to short, backfilled by populate_short_code",
            "0004_short_by_code_remove_movie_old_code.py",
            "+ Create index by_code on field(s) code of model short",
            "- Remove field old_code from movie",
        ],
        show='list(Short.objects.order_by("pk").values_list("code", flat=True))',
        shown="['a', 'b']",
    ),
}

#: What stands of the order among backfills.
TURNS: dict[str, Case] = {
    "altered_reads_altered": Case(
        before=STUDIO
        + LABEL
        + MOVIE
        + "    studio = models.ForeignKey(Studio, models.CASCADE, null=True)\n"
        + "    year = models.IntegerField(null=True)\n",
        after=STUDIO
        + LABEL
        + MOVIE
        + "    studio = models.ForeignKey(Label, models.CASCADE)\n"
        + "    year = models.IntegerField()\n",
        functions={
            "populate_movie_studio": "return 1",
            "populate_movie_year": "return len(movie.studio.name)",
        },
        rows=STUDIOS
        + "for n in 'abc': Label.objects.create(tag=n)\n"
        + "for n in 1, 2: Movie.objects.create(title=n, studio_id=n)\n"
        + "Movie.objects.create(title=3, year=1925)\n",
        files=[
            "0002_alter_movie_year.py",
            "~ Alter field year on movie, backfilled by populate_movie_year",
            "0003_alter_movie_studio.py",
            "~ Alter field studio on movie, backfilled by populate_movie_studio",
        ],
        show='list(Movie.objects.order_by("pk").values_list("studio__tag", "year"))',
        shown="[('a', 1), ('b', 1), ('a', 1925)]",
    ),
    # Rehearsed with the first one unapplied: what is generated is to be as it makes it.
    "altered_reads_generated": Case(
        before=MOVIE
        + "    year = models.IntegerField(null=True)\n"
        + "    years = models.IntegerField(null=True)\n"
        + DOUBLED.format("year"),
        after=MOVIE
        + "    year = models.IntegerField()\n"
        + "    years = models.IntegerField()\n"
        + DOUBLED.format("year"),
        functions={
            "populate_movie_year": "return 5",
            "populate_movie_years": "return movie.doubled",
        },
        rows=TITLES + "Movie.objects.filter(title='a').update(year=1)\n",
        files=[
            "0002_alter_movie_year.py",
            "~ Alter field year on movie, backfilled by populate_movie_year",
            "0003_alter_movie_years.py",
            "~ Alter field years on movie, backfilled by populate_movie_years",
        ],
        show='list(Movie.objects.order_by("pk").values_list("year", "years"))',
        shown="[(1, 2), (5, 10), (5, 10)]",
    ),
    "added_reads_new_generated": Case(
        before=MOVIE + "    year = models.IntegerField()\n",
        after=MOVIE
        + "    year = models.IntegerField()\n"
        + "    years = models.IntegerField()\n"
        + DOUBLED.format("year"),
        functions={"populate_movie_years": "return movie.doubled"},
        rows="for n in 1, 2: Movie.objects.create(title=n, year=n)\n",
        files=[
            "0002_movie_doubled.py",
            "+ Add field doubled to movie",
            "0003_movie_years.py",
            "+ Add field years to movie, backfilled by populate_movie_years",
        ],
        show='list(Movie.objects.order_by("pk").values_list("year", "years"))',
        shown="[(1, 2), (2, 4)]",
    ),
    "generated_from_what_moves": Case(
        before=STUDIO
        + MOVIE
        + "    studio = models.IntegerField(null=True)\n"
        + DOUBLED.format("studio"),
        after=STUDIO
        + MOVIE
        + "    studio = models.ForeignKey(Studio, models.CASCADE)\n"
        + DOUBLED.format("studio"),
        functions={"populate_movie_studio": "return 2"},
        rows=STUDIOS + TITLES + "Movie.objects.filter(title='a').update(studio=1)\n",
        files=[
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie",
            "0003_alter_movie_studio.py",
            "~ Alter field studio on movie, backfilled by populate_movie_studio",
        ],
        show='list(Movie.objects.order_by("pk").values_list("studio", "doubled"))',
        shown="[(1, 2), (2, 4), (2, 4)]",
    ),
}

SHARED = "    class Meta:\n        db_table = 'shared'\n"
TAKE = """\
class Take(models.Model):
    movie = models.ForeignKey(Movie, models.CASCADE)
"""

#: A new field has the column, or the table, of what is no field that is removed.
TAKEN: dict[str, Case] = {
    "column_of_the_order": Case(
        before=MOVIE
        + TAKE
        + "    class Meta:\n        order_with_respect_to = 'movie'\n",
        after=MOVIE + TAKE + "    number = models.IntegerField(db_column='_order')\n",
        functions={"populate_take_number": "return take.pk * 10"},
        rows=TITLES + "for n in 1, 1, 2: Take.objects.create(movie_id=n)\n",
        files=[
            "0002_alter_take_order_with_respect_to.py",
            "~ Set order_with_respect_to on take to None",
            "0003_take_number.py",
            "+ Add field number to take, backfilled by populate_take_number",
        ],
        not_yet="films.Take.number cannot be rehearsed yet, because "
        "films.0002_alter_take_order_with_respect_to is to change column "
        "films_take._order. Apply films.0002_alter_take_order_with_respect_to first.",
        show='list(Take.objects.order_by("pk").values_list("number", flat=True))',
        shown="[10, 20, 30]",
    ),
    "column_of_what_moves_and_is_cut": Case(
        before=MOVIE + "    code = models.CharField(max_length=20, db_column='no')\n",
        after=MOVIE
        + "    code = models.CharField(max_length=5)\n"
        + "    number = models.CharField(max_length=20, db_column='no')\n",
        functions={"populate_movie_number": "return movie.code * 2"},
        rows="for n in 'ab': Movie.objects.create(title=n, code=n * 5)\n",
        files=[
            "0002_alter_movie_code.py",
            "~ Alter field code on movie",
            "0003_movie_number.py",
            "+ Add field number to movie, backfilled by populate_movie_number",
            "0004_alter_movie_code.py",
            "~ Alter field code on movie",
        ],
        not_yet="films.Movie.number cannot be rehearsed yet, because "
        "films.0002_alter_movie_code is to change column films_movie.no. "
        "Apply films.0002_alter_movie_code first.",
        show='list(Movie.objects.order_by("pk").values_list("code", "number"))',
        shown="[('aaaaa', 'aaaaaaaaaa'), ('bbbbb', 'bbbbbbbbbb')]",
    ),
    "order_with_the_column_of_a_field": Case(
        before=MOVIE + TAKE + "    place = models.IntegerField(db_column='_order')\n",
        after=MOVIE
        + TAKE
        + "    number = models.IntegerField()\n"
        + "    class Meta:\n        order_with_respect_to = 'movie'\n",
        functions={"populate_take_number": "return take.place"},
        rows=TITLES + "for n in 1, 1, 2: Take.objects.create(movie_id=n, place=7)\n",
        answers="n\n",
        files=[
            "0002_take_number.py",
            "+ Add field number to take, backfilled by populate_take_number",
            "0003_remove_take_place_alter_take_order_with_respect_to.py",
            "- Remove field place from take",
            "~ Set order_with_respect_to on take to movie",
        ],
        show='list(Take.objects.order_by("pk").values_list("number", "_order"))',
        shown="[(7, 0), (7, 0), (7, 0)]",
    ),
    "primary_key_becomes_a_number": Case(
        before="class Movie(models.Model):\n"
        "    code = models.AutoField(primary_key=True)\n"
        "    title = models.CharField(max_length=50)\n",
        after="class Movie(models.Model):\n"
        "    code = models.IntegerField(null=True)\n"
        "    title = models.CharField(max_length=50, primary_key=True)\n"
        "    slug = models.SlugField()\n",
        functions={"populate_movie_slug": "return movie.title * movie.code"},
        rows=TITLES,
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_alter_movie_code_alter_movie_title.py",
            "~ Alter field code on movie",
            "~ Alter field title on movie",
        ],
        show='list(Movie.objects.order_by("code").values_list("title", "slug"))',
        shown="[('a', 'a'), ('b', 'bb'), ('c', 'ccc')]",
    ),
    "table_of_a_deleted_model": Case(
        before=MOVIE
        + "class Old(models.Model):\n"
        + "    movie = models.OneToOneField(Movie, models.CASCADE)\n"
        + "    code = models.CharField(max_length=9)\n"
        + SHARED,
        after=MOVIE
        + "    code = models.CharField(max_length=9)\n"
        + "class Fresh(models.Model):\n"
        + "    number = models.IntegerField()\n"
        + SHARED,
        functions={"populate_movie_code": "return movie.old.code"},
        rows=TITLES + "for movie in Movie.objects.all(): "
        "Old.objects.create(movie=movie, code=movie.title * 2)\n",
        files=[
            "0002_movie_code.py",
            "+ Add field code to movie, backfilled by populate_movie_code",
            "0003_delete_old_fresh.py",
            "- Delete model Old",
            "+ Create model Fresh",
        ],
        show='list(Movie.objects.order_by("pk").values_list("code", flat=True)), '
        "Fresh.objects.count()",
        shown="['aa', 'bb', 'cc'] 0",
    ),
}


def key_case(
    old: str, new: str, *, rows: str, function: str, files: Sequence[str] = ()
) -> Case:
    """Return how a nullable column becomes a required foreign key."""
    return Case(
        before=STUDIO + f"class Movie(models.Model):\n    studio = {old}\n",
        after=STUDIO + f"class Movie(models.Model):\n    studio = {new}\n",
        functions={"populate_movie_studio": f"return {function}"},
        rows=STUDIOS + rows,
        files=files
        or [
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie",
            "0003_alter_movie_studio.py",
            "~ Alter field studio on movie, backfilled by populate_movie_studio",
        ],
        show=SHOW_STUDIOS.format("studio__name"),
        shown="['x', 'y', 'z']",
        back=SHOW_STUDIOS.format("studio"),
        shown_back="[1, 2, 3]",
    )


NUMBERS = "for n in 1, None, 3: Movie.objects.create(studio=n)\n"

#: F4: a nullable column that becomes another one, and required.
COLUMNS: dict[str, Case] = {
    "number": key_case(
        "models.IntegerField(null=True)",
        "models.ForeignKey(Studio, models.CASCADE)",
        rows=NUMBERS,
        function="2",
    ),
    "number_to_one_to_one": key_case(
        "models.BigIntegerField(null=True, unique=True)",
        "models.OneToOneField(Studio, models.CASCADE)",
        rows=NUMBERS,
        function="2",
    ),
    "number_with_a_column": key_case(
        "models.IntegerField(null=True, db_column='maker')",
        "models.ForeignKey(Studio, models.CASCADE)",
        rows=NUMBERS,
        function="2",
    ),
    "number_to_a_column": key_case(
        "models.IntegerField(null=True)",
        "models.ForeignKey(Studio, models.CASCADE, db_column='maker')",
        rows=NUMBERS,
        function="2",
    ),
    "number_keeps_its_column": key_case(
        "models.IntegerField(null=True)",
        "models.ForeignKey(Studio, models.CASCADE, db_column='studio')",
        rows=NUMBERS,
        function="2",
        files=[
            "0002_alter_movie_studio.py",
            "~ Alter field studio on movie, backfilled by populate_movie_studio",
        ],
    ),
    "name": Case(
        before=STUDIO
        + "class Movie(models.Model):\n"
        + "    studio = models.CharField(max_length=50, null=True)\n",
        after=STUDIO
        + "class Movie(models.Model):\n"
        + "    studio = models.ForeignKey(Studio, models.CASCADE)\n",
        functions={
            "populate_movie_studio": 'studios = apps.get_model("films", "Studio")\n'
            '    return studios.objects.get(name=movie.old_studio or "y")'
        },
        rows=STUDIOS + 'for n in "x", None, "z": Movie.objects.create(studio=n)\n',
        files=[
            "0002_alter_movie_studio_rename_studio_movie_old_studio.py",
            "~ Alter field studio on movie",
            "~ Rename field studio on movie to old_studio",
            "0003_movie_studio.py",
            "+ Add field studio to movie, backfilled by populate_movie_studio",
            "0004_remove_movie_old_studio.py",
            "- Remove field old_studio from movie",
        ],
        show=SHOW_STUDIOS.format("studio__name"),
        shown="['x', 'y', 'z']",
        stub="""\
    Return the studio of one existing movie.

    Fields to build it from: id, old_studio.
    Movie.studio is called old_studio until it is removed.
""",
        back=SHOW_STUDIOS.format("studio"),
        shown_back="[None, None, None]",
    ),
    "another_column": Case(
        before=MOVIE + "    year = models.IntegerField(null=True)\n",
        after=MOVIE + "    year = models.IntegerField(db_column='yr')\n",
        functions={"populate_movie_year": "return 1926"},
        rows=TITLES + "Movie.objects.filter(title='a').update(year=1925)\n",
        files=[
            "0002_alter_movie_year.py",
            "~ Alter field year on movie",
            "0003_alter_movie_year.py",
            "~ Alter field year on movie, backfilled by populate_movie_year",
        ],
        show='list(Movie.objects.order_by("pk").values_list("year", flat=True))',
        shown="[1925, 1926, 1926]",
        back='list(Movie.objects.order_by("pk").values_list("year", flat=True))',
        shown_back="[1925, 1926, 1926]",
    ),
    "another_column_and_unique": Case(
        before=MOVIE + "    code = models.CharField(max_length=9)\n",
        after=MOVIE + "    code = models.CharField(max_length=9, unique=True, "
        "db_column='no')\n",
        functions={},
        rows='for n in "abc": Movie.objects.create(title=n, code=n)\n',
        files=[
            "0002_alter_movie_code.py",
            "~ Alter field code on movie",
            "0003_alter_movie_code.py",
            "~ Alter field code on movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("code", flat=True))',
        shown="['a', 'b', 'c']",
        back='list(Movie.objects.order_by("pk").values_list("code", flat=True))',
        shown_back="['a', 'b', 'c']",
    ),
    "column_no_more": Case(
        before=MOVIE + "    year = models.IntegerField(null=True, db_column='yr')\n",
        after=MOVIE + "    year = models.IntegerField()\n",
        functions={"populate_movie_year": "return 1926"},
        rows=TITLES + "Movie.objects.filter(title='a').update(year=1925)\n",
        files=[
            "0002_alter_movie_year.py",
            "~ Alter field year on movie",
            "0003_alter_movie_year.py",
            "~ Alter field year on movie, backfilled by populate_movie_year",
        ],
        show='list(Movie.objects.order_by("pk").values_list("year", flat=True))',
        shown="[1925, 1926, 1926]",
        back='list(Movie.objects.order_by("pk").values_list("year", flat=True))',
        shown_back="[1925, 1926, 1926]",
    ),
}

MIGRATE = """\
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
TRACK = """\
class Album(models.Model):
    name = models.CharField(max_length=50)
class Track(models.Model):
    number = models.IntegerField()
"""
ALBUM = "    album = models.ForeignKey(Album, models.CASCADE)\n"
TRACKS = (
    'for name in "ab": Album.objects.create(name=name)\n'
    "for number in 1, 2, 3: Track.objects.create(number=number)\n"
)
FIND_ALBUM = {"populate_track_album": "return track.number % 2 + 1"}
SHOW_ALBUMS = 'list(Track.objects.order_by("pk").values_list("album__name", flat=True))'

#: What else depends on the new field, or is renamed, in one run.
TOGETHER: dict[str, Case] = {
    "rename_and_unique_together": Case(
        before=MOVIE
        + "    no = models.CharField(max_length=9)\n"
        + "    code = models.IntegerField(default=1)\n"
        + "    class Meta:\n        unique_together = [('no', 'code')]\n",
        after=MOVIE
        + "    number = models.CharField(max_length=9)\n"
        + "    slug = models.SlugField()\n"
        + "    class Meta:\n        unique_together = [('number', 'slug')]\n",
        functions={
            "populate_movie_slug": 'return f"{movie.number}-{movie.code}"',
        },
        rows="for n in 1, 2: Movie.objects.create(no='x', code=n)\n",
        answers="y\n",
        files=[
            "0002_rename_no_movie_number.py",
            "~ Rename field no on movie to number",
            "0003_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0004_alter_movie_unique_together_remove_movie_code.py",
            "~ Alter unique_together for movie (1 constraint(s))",
            "- Remove field code from movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("number", "slug"))',
        shown="[('x', 'x-1'), ('x', 'x-2')]",
    ),
    "all_over_a_new_key": Case(
        before=TRACK,
        after=TRACK
        + ALBUM
        + "    class Meta:\n"
        + "        order_with_respect_to = 'album'\n"
        + "        unique_together = [('album', 'number')]\n"
        + "        indexes = [models.Index(fields=['album', 'number'], name='an')]\n",
        functions=FIND_ALBUM,
        rows=TRACKS,
        files=[
            "0002_track_album.py",
            "+ Add field album to track, backfilled by populate_track_album",
            "0003_alter_track_unique_together_and_more.py",
            "~ Alter unique_together for track (1 constraint(s))",
            "~ Set order_with_respect_to on track to album",
            "+ Create index an on field(s) album, number of model track",
        ],
        show=SHOW_ALBUMS,
        shown="['b', 'a', 'b']",
        back="Track.objects.count()",
        shown_back="3",
    ),
    "index_over_the_order": Case(
        before=TRACK,
        after=TRACK
        + ALBUM
        + "    class Meta:\n"
        + "        order_with_respect_to = 'album'\n"
        + "        indexes = [models.Index(fields=['_order'], name='by_order')]\n",
        functions=FIND_ALBUM,
        rows=TRACKS,
        files=[
            "0002_track_album.py",
            "+ Add field album to track, backfilled by populate_track_album",
            "0003_alter_track_order_with_respect_to_track_by_order.py",
            "~ Set order_with_respect_to on track to album",
            "+ Create index by_order on field(s) _order of model track",
        ],
        show=SHOW_ALBUMS,
        shown="['b', 'a', 'b']",
        back="Track.objects.count()",
        shown_back="3",
    ),
    "key_to_a_renamed_model": Case(
        before=STUDIO + MOVIE,
        after=STUDIO.replace("Studio", "Maker")
        + MOVIE
        + "    maker = models.ForeignKey(Maker, models.CASCADE)\n",
        functions={"populate_movie_maker": "return 4 - movie.pk"},
        rows=TITLES + STUDIOS,
        answers="y\n",
        files=[
            "0002_rename_studio_maker.py",
            "~ Rename model Studio to Maker",
            "0003_movie_maker.py",
            "+ Add field maker to movie, backfilled by populate_movie_maker",
        ],
        not_yet="films.Movie.maker cannot be rehearsed yet, because "
        "films.0002_rename_studio_maker is to rename a table: Rename model Studio to "
        "Maker. Apply films.0002_rename_studio_maker first.",
        show='list(Movie.objects.order_by("pk").values_list("maker__name", flat=True))',
        shown="['z', 'y', 'x']",
        back="Studio.objects.count()",
        shown_back="3",
    ),
    "generated_from_it": Case(
        before=MOVIE,
        after=MOVIE
        + "    year = models.IntegerField()\n"
        + "    decade = models.GeneratedField(expression=models.F('year') / 10, "
        "output_field=models.IntegerField(), db_persist=True)\n"
        + "    class Meta:\n"
        + "        ordering = ['year']\n"
        + "        constraints = [models.CheckConstraint(condition="
        "models.Q(year__gt=1887), name='after')]\n",
        functions={"populate_movie_year": "return 1920 + movie.pk"},
        rows=TITLES,
        files=[
            "0002_movie_year.py",
            "+ Add field year to movie, backfilled by populate_movie_year",
            "0003_movie_decade_alter_movie_options_movie_after.py",
            "+ Add field decade to movie",
            "~ Change Meta options on movie",
            "+ Create constraint after on model movie",
        ],
        show='list(Movie.objects.order_by("pk").values_list("year", flat=True))',
        shown="[1921, 1922, 1923]",
        back="Movie.objects.count()",
        shown_back="3",
    ),
}

IN_TABLE = "    class Meta:\n        db_table = '{}'\n"
SLUG = "    slug = models.SlugField(unique=True)\n"
SHOW_SLUGS = 'list(Movie.objects.order_by("pk").values_list("slug", flat=True))'
LABELS = "    labels = models.ManyToManyField(Label{})\n"
LABELED = (
    "for title in 'abc': Movie.objects.create(title=title).labels.add("
    "Label.objects.create(tag=title * 2))\n"
)
SLUG_OF_LABEL = {"populate_movie_slug": "return movie.labels.get().tag"}

#: Names of tables that are free only after another operation, which Django puts last.
TABLES: dict[str, Case] = {
    "new_model_in_a_table_that_is_renamed": Case(
        before=MOVIE + IN_TABLE.format("one"),
        after=MOVIE + SLUG + IN_TABLE.format("two") + LABEL + IN_TABLE.format("one"),
        functions={"populate_movie_slug": "return movie.title"},
        rows=TITLES,
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_alter_movie_table_label.py",
            "~ Rename table for movie to two",
            "+ Create model Label",
        ],
        show=f"{SHOW_SLUGS}, list(Label.objects.all())",
        shown="['a', 'b', 'c'] []",
        back="list(Movie.objects.values_list('title', flat=True))",
        shown_back="['a', 'b', 'c']",
    ),
    "table_of_one_that_is_renamed": Case(
        before=LABEL + IN_TABLE.format("one") + MOVIE + IN_TABLE.format("two"),
        after=LABEL + IN_TABLE.format("three") + MOVIE + SLUG + IN_TABLE.format("one"),
        functions={"populate_movie_slug": "return movie.title"},
        rows=TITLES + "Label.objects.create(tag='t')\n",
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_alter_label_table_alter_movie_table.py",
            "~ Rename table for label to three",
            "~ Rename table for movie to one",
        ],
        show=f"{SHOW_SLUGS}, Label.objects.get().tag",
        shown="['a', 'b', 'c'] t",
        back="Label.objects.get().tag",
        shown_back="t",
    ),
    "new_model_in_the_table_of_a_relation": Case(
        before=LABEL + MOVIE + LABELS.format(""),
        after=LABEL
        + MOVIE
        + SLUG
        + "class Link(models.Model):\n    pass\n"
        + IN_TABLE.format("films_movie_labels"),
        functions=SLUG_OF_LABEL,
        rows=LABELED,
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_remove_movie_labels_link.py",
            "- Remove field labels from movie",
            "+ Create model Link",
        ],
        show=f"{SHOW_SLUGS}, list(Link.objects.all())",
        shown="['aa', 'bb', 'cc'] []",
    ),
    "another_table_of_a_relation": Case(
        before=LABEL + MOVIE + LABELS.format(""),
        after=LABEL + MOVIE + SLUG + LABELS.format(", db_table='links'"),
        functions=SLUG_OF_LABEL,
        rows=LABELED,
        files=[
            "0002_movie_slug.py",
            "+ Add field slug to movie, backfilled by populate_movie_slug",
            "0003_alter_movie_labels.py",
            "~ Alter field labels on movie",
        ],
        show=f"{SHOW_SLUGS}, Movie.objects.get(title='b').labels.get().tag",
        shown="['aa', 'bb', 'cc'] bb",
        back="Movie.objects.get(title='b').labels.get().tag",
        shown_back="bb",
    ),
}

CASES = {**KEYS, **NAMES, **COLUMNS, **TAKEN, **TABLES, **TURNS, **TOGETHER}


#: In the others only the files and the states matter.
FOR_EACH_DATABASE = {
    "added_reads_new_generated",
    "all_over_a_new_key",
    "altered_reads_generated",
    "another_column",
    "another_column_and_unique",
    "child_and_field_into_parent",
    "child_into_parent",
    "column_is_taken",
    "column_no_more",
    "generated_from_it",
    "key_becomes_a_text",
    "keys_of_the_column_are_taken",
    "index_over_what_is_set_aside",
    "many_to_many_becomes_a_key",
    "many_to_many_goes",
    "name",
    "new_model_in_a_table_that_is_renamed",
    "new_model_in_the_table_of_a_relation",
    "number",
    "number_to_one_to_one",
    "number_with_a_column",
    "one_to_one",
    "primary_key_replaced",
    "profile_into_user",
    "related_name",
    "reverse_of_many_to_many",
    "text_is_cut",
    "up",
}
RUNS = [
    pytest.param(
        alias,
        case,
        id=f"{alias}-{name}",
        marks=[] if alias == "default" else [pytest.mark.thorough],
    )
    for alias in ("default", "postgresql", "mariadb")
    for name, case in CASES.items()
    if alias == "default" or name in FOR_EACH_DATABASE
]


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record_property: Any,
    clean_databases: None,
) -> Iterator[Site]:
    """Return a project of two apps, on each of three databases."""
    for alias in use_alias(request.param, record_property):
        database = servers.get_connection_settings(connections[alias])
        connections[alias].close()
        yield Site(tmp_path, apps=["films", "shops"], database=database)


def write_models(site: Site, texts: Models) -> None:
    texts = {"films": texts} if isinstance(texts, str) else texts
    for app, text in texts.items():
        site.write_models(text, app=app)


def run_python(site: Site, code: str) -> str:
    imports = "from films.models import *\nfrom shops.models import *\n"
    return site.succeed("shell", "-v", "0", "-c", imports + code)


def write_functions(site: Site, case: Case) -> list[tuple[str, str]]:
    """Write the functions, each in its file; return app and file of each."""
    missing = dict(case.functions)
    written = []
    for app in site.apps:
        for name, text in site.read_migrations(app).items():
            for function in list(missing):
                head = f"def {function}("
                if head not in text:
                    continue
                before, _, rest = text.partition(head)
                signature, _, rest = rest.partition('"""\n')
                docstring, _, rest = rest.partition('    """\n')
                assert rest.lstrip().startswith("raise NotImplementedError")
                assert not case.stub or written or docstring == case.stub
                body = missing.pop(function)
                if "apps." in body:
                    signature = signature.replace("):", ", apps):")
                text = (
                    f"{before}{head}{signature.rstrip()}\n    {body}\n\n\n"
                    f"class {rest.partition('class ')[2]}"
                )
                site.write(f"{app}/migrations/{name}", text)
                written.append((app, name))
    assert not missing
    return written


def list_files(out: str) -> list[str]:
    """Return the files and the operations that makemigrations has printed."""
    lines = [line.strip() for line in out.splitlines()]
    return [
        line.rpartition("/")[2] if line.endswith(".py") else line
        for line in lines
        if line.startswith(("films/", "shops/", "+ ", "- ", "~ "))
    ]


@pytest.mark.parametrize(("site", "case"), RUNS, indirect=["site"])
def test_change(site: Site, case: Case) -> None:
    """
    Fails if something that a function reads goes first, or if a migration does not run.

    Each by itself: the order by ordering.py, the other names by clashes.py and
    asides.py, the columns by autodetector.py.
    """
    write_models(site, case.before)
    site.succeed("makemigrations")
    run_python(site, MIGRATE + case.rows)
    write_models(site, case.after)

    out = site.succeed("makemigrations", stdin=case.answers)

    assert list_files(out) == list(case.files)
    for number, (app, name) in enumerate(write_functions(site, case)):
        result = site.manage("rehearsebackfill", app, name.removesuffix(".py"))
        not_yet = case.not_yet
        if not isinstance(not_yet, str):
            not_yet = not_yet[number]
        error = f"SafefieldError: {not_yet}\n" if not_yet else ""
        assert (result.code, result.err) == (bool(error), error), result.out
    check = 'call_command("makemigrations", check_changes=True)\n'
    out = run_python(site, f"{MIGRATE}print({case.show})\n{check}")
    assert out == f"{case.shown}\nNo changes detected\n"
    if case.back:
        for app in site.apps:
            if len(site.list_migrations(app)) > 1:
                site.succeed("migrate", "-v", "0", app, "0001")
        write_models(site, case.before)
        assert run_python(site, f"print({case.back})") == f"{case.shown_back}\n"


@pytest.mark.parametrize("site", ["default"], indirect=True)
def test_second_phase_reads_what_is_retargeted(site: Site) -> None:
    """Fails if a key leads elsewhere before the second phase reads it for new rows."""
    key = "    studio = models.ForeignKey({}, models.CASCADE{}, related_name='films')\n"
    films = "    films = models.IntegerField()\n"
    old_key = key.format("Studio", ", null=True")
    write_models(site, STUDIO + LABEL + MOVIE + old_key)
    site.succeed("makemigrations")
    rows = STUDIOS + "Label.objects.create(tag='a')\n"
    run_python(site, MIGRATE + rows + "Movie.objects.create(title='m', studio_id=1)\n")
    new_key = key.format("Label", "")
    write_models(site, STUDIO + films + LABEL + MOVIE + new_key)

    out = site.succeed("makemigrations", "--two-phase")

    assert list_files(out) == [
        "0002_alter_movie_studio.py",
        "~ Alter field studio on movie",
        "0003_studio_films.py",
        "+ Add field films to studio, backfilled by populate_studio_films",
        "0004_alter_studio_films.py",
        "~ Alter field films on studio, backfilled by populate_studio_films",
        "0005_alter_movie_studio.py",
        "~ Alter field studio on movie, backfilled by populate_movie_studio",
    ]
    functions = {
        "populate_studio_films": "return studio.old_films.count()",
        "populate_movie_studio": "return 1",
    }
    write_functions(site, Case("", "", functions, "", [], "", ""))
    site.succeed("migrate", "-v", "0", "films", "0003")
    insert = "INSERT INTO films_studio (name) VALUES ('new')"
    show = 'print(list(Studio.objects.values_list("name", "films")))\n'
    out = run_python(
        site,
        f"from django.db import connection\n"
        f'connection.cursor().execute("{insert}")\n{MIGRATE}{show}'
        f'print(Movie.objects.get().studio.tag)\ncall_command("makemigrations", '
        f"check_changes=True)\n",
    )
    shown = "[('x', 1), ('y', 0), ('z', 0), ('new', 0)]"
    assert out == f"{shown}\na\nNo changes detected\n"


def test_table_that_a_backfill_needs(tmp_path: Path) -> None:
    """Fails if the rows of a model are deleted before a function can read them."""
    site = Site(tmp_path)
    write_models(site, MOVIE + "class Old(models.Model):\n" + SHARED)
    site.succeed("makemigrations")
    key = "    fresh = models.ForeignKey('Fresh', models.CASCADE)\n"
    write_models(site, MOVIE + key + "class Fresh(models.Model):\n" + SHARED)

    result = site.manage("makemigrations", stdin="n\n")

    assert (result.code, result.err) == (
        1,
        "SafefieldError: No migration was written. Model Fresh has the table of model "
        "Old, which is deleted, and a backfill needs Fresh: the rows of Old would be "
        "gone before it reads them. Keep Old and give it another table (db_table), run "
        "makemigrations, then delete it and run makemigrations again.\n",
    )
    assert site.list_migrations() == ["0001_initial.py"]


def test_app_that_the_migration_does_not_depend_on(tmp_path: Path) -> None:
    """Fails if the text does not say what is missing, or advises it for a typo."""
    site = Site(tmp_path, apps=["films", "shops"])
    write_models(site, MOVIE)
    site.succeed("makemigrations")
    run_python(site, MIGRATE + "Movie.objects.create(title='a')\n")
    code = "    code = models.CharField(max_length=9)\n"
    write_models(site, {"films": MOVIE + code, "shops": LABEL})
    site.succeed("makemigrations")
    head = (
        "BackfillError: films.Movie.code cannot be filled. populate_movie_code() "
        "failed for the row it was tried on:\n  1 row: "
        "populate_movie_code() "
    )
    name = "films/migrations/0002_movie_code.py"
    stub = site.read(name)
    for app, reason, advice in [
        (
            "shops",
            "asked for app shops, and the migration does not depend on it (pk 1)",
            "Add a migration of that app to the dependencies of this migration",
        ),
        (
            "shop",
            "raised LookupError: No installed app with label 'shop'. (pk 1)",
            "Fix populate_movie_code()",
        ),
    ]:
        site.write(name, stub)
        body = f"apps.get_model('{app}', 'Label').objects.create(tag='t')"
        case = Case("", "", {"populate_movie_code": body}, "", [], "", "")
        write_functions(site, case)

        result = site.manage("migrate", "films")

        text = (
            f"{head}{reason}\nNothing was changed. {advice}, then run migrate again.\n"
        )
        assert (result.code, result.err) == (1, text)


UP_FILES = {
    "0002_alter_restaurant_address_and_more.py": """\
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("films", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="restaurant",
            name="address",
            field=models.CharField(blank=True, db_column="address", max_length=80),
        ),
        migrations.RenameField(
            model_name="restaurant",
            old_name="address",
            new_name="old_address",
        ),
    ]
""",
    "0003_place_address.py": '''\
import safefield.operations
from django.db import migrations, models


def populate_place_address(place):
    """
    Return the address of one existing place.

    Fields to build it from: id, name.
    Restaurant.address is called old_address until it is removed.
    """
    raise NotImplementedError("Write populate_place_address() before running migrate.")


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("films", "0002_alter_restaurant_address_and_more"),
    ]

    operations = [
        safefield.operations.AddFieldWithBackfill(
            model_name="place",
            name="address",
            field=models.CharField(max_length=80),
            populate=populate_place_address,
        ),
    ]
''',
    "0004_remove_restaurant_old_address.py": """\
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("films", "0003_place_address"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="restaurant",
            name="old_address",
        ),
    ]
""",
}
NUMBER_FILES = {
    "0002_alter_movie_studio.py": """\
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("films", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="movie",
            name="studio",
            field=models.IntegerField(db_column="studio_id", null=True),
        ),
    ]
""",
    "0003_alter_movie_studio.py": '''\
import django.db.models.deletion
import safefield.operations
from django.db import migrations, models


def populate_movie_studio(movie):
    """
    Return the studio of one existing movie that has none.

    Fields to build it from: id.
    """
    raise NotImplementedError("Write populate_movie_studio() before running migrate.")


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("films", "0002_alter_movie_studio"),
    ]

    operations = [
        safefield.operations.AlterFieldWithBackfill(
            model_name="movie",
            name="studio",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, to="films.studio"
            ),
            populate=populate_movie_studio,
        ),
    ]
''',
}


@pytest.mark.parametrize(
    ("name", "files"), [("up", UP_FILES), ("number", NUMBER_FILES)]
)
def test_whole_files(tmp_path: Path, name: str, files: dict[str, str]) -> None:
    """Fails if a file says something else, such as another column or dependency."""
    site = Site(tmp_path, has_black=True)
    write_models(site, CASES[name].before)
    site.succeed("makemigrations")
    write_models(site, CASES[name].after)

    site.succeed("makemigrations", "--no-header")

    written = site.read_migrations()
    assert written.pop("0001_initial.py")
    assert written == files
