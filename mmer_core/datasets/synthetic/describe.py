"""Captions of a scene: who does what, where, with what, in what weather. They never name an emotion."""

import numpy as np

from mmer_core.datasets.synthetic.scene import Figure, Scene, pick

_PEOPLE = {
    ("Adult", "Male"): ("a man", "a guy", "an adult man", "a gentleman"),
    ("Adult", "Female"): ("a woman", "a lady", "an adult woman", "a female"),
    ("Teenager", "Male"): ("a teenage boy", "a young man", "a youth"),
    ("Teenager", "Female"): ("a teenage girl", "a young woman", "a young lady"),
    ("Kid", "Male"): ("a boy", "a little boy", "a small boy", "a child"),
    ("Kid", "Female"): ("a girl", "a little girl", "a small girl", "a child"),
}
_DOINGS = {
    "standing": ("standing", "standing still", "stands", "posing"),
    "jumping": ("jumping", "leaping with arms in the air", "jumps up", "leaps into the air"),
    "running": ("running", "sprinting", "runs", "racing along"),
    "sitting": ("sitting", "seated", "sits on the ground", "sitting down"),
    "lying": ("lying down", "lying on the ground", "stretched out on the ground", "lies flat"),
    "crouching": ("crouching", "squatting", "crouches low", "bent down"),
    "hugging": ("reaching out for a hug", "hugging", "holding out both arms", "with open arms"),
    "pointing": ("pointing to the side", "points at something", "pointing a finger"),
    "waving": ("waving", "waves a hand", "raising one hand", "with one arm up"),
}
_FACES = {
    "smile": ("smiling", "with a big smile"),
    "tears": ("with wet cheeks", "crying"),
    "open": ("with an open mouth", "with wide eyes"),
    "angry": ("with a red face", "baring teeth"),
    "frown": ("frowning", "with the mouth turned down"),
}
_PLACES = {
    "beach": ("on a beach", "by the sea", "on the sand near the ocean", "under a palm tree at the shore"),
    "forest": ("in a forest", "in the woods", "among the trees", "in front of pine trees"),
    "street": ("on a street", "in the city", "in front of tall buildings", "on the road"),
    "room": ("in a room", "indoors", "in a living room", "in front of a sofa"),
    "park": ("in a park", "on the grass", "in a green field with flowers", "on a lawn"),
    "snow": ("in the snow", "in front of mountains", "on a snowy field", "in a white winter landscape"),
    "graveyard": ("in a graveyard", "at a cemetery", "among crosses", "in front of graves"),
    "stadium": ("in a stadium", "on a sports field", "in front of a crowd", "on the pitch"),
}
_WEATHERS = {
    "sun": ("on a sunny day", "in bright sunshine", "under a blue sky"),
    "clouds": ("under a cloudy sky", "on a grey day", "in dull weather"),
    "rain": ("in the rain", "on a rainy day", "while it is raining"),
    "night": ("at night", "in the dark", "under the moon"),
}
_OBJECTS = {
    "balloons": ("three balloons", "{} balloons", "some balloons"),
    "dog": ("a brown dog", "a dog", "a dog with a {} collar"),
    "cake": ("a cake with candles", "a birthday cake", "a {} cake"),
    "vase": ("a broken vase", "the pieces of a {} vase", "a smashed pot"),
    "ball": ("a ball", "a {} and white ball", "a football"),
    "gravestone": ("a gravestone", "a grey tombstone", "a grave with a cross"),
    "book": ("an open book", "a book", "a {} book"),
    "gift": ("a wrapped gift", "a {} present", "a box with a golden ribbon"),
    "trophy": ("a golden cup", "a trophy", "a winner's cup"),
    "spider": ("a huge black spider", "a giant spider", "a big insect with long legs"),
    "flowers": ("{} flowers", "a bunch of flowers", "some {} blossoms"),
    "kit": ("a first-aid box", "a white case with a red cross", "a medical kit"),
    "laptop": ("a laptop", "a computer", "a notebook computer"),
    "umbrella": ("a {} umbrella", "an open umbrella", "a parasol"),
}
_GROUPS = {
    2: ("two people", "a pair of people", "a couple"),
    3: ("three people", "a group of people", "a trio"),
}
_GARMENTS = ("in a {} shirt", "wearing {}", "dressed in {}", "in a {} top")


def caption_person(scene: Scene, figure: Figure, rng: np.random.Generator) -> str:
    """A caption of one person: nearly always the action, other details occasionally."""
    garment = pick(rng, _GARMENTS).format(figure.shirt) if rng.random() < 0.35 else ""
    doing = pick(rng, _DOINGS[figure.pose]) if rng.random() < 0.85 else ""
    face = pick(rng, _FACES[figure.face]) if figure.face in _FACES and rng.random() < 0.25 else ""
    who = pick(rng, _PEOPLE[figure.age, figure.gender])
    return _sentence(who, garment, doing, face, *_surroundings(scene, rng, 0.7, 0.7, 0.35))


def caption_photo(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the photo: everybody together, or one person and the surroundings."""
    count = len(scene.figures)
    if count > 1 and rng.random() < 0.4:
        first, second = scene.figures[0], scene.figures[1]
        who = pick(rng, _GROUPS[count])
        doings = " and ".join(dict.fromkeys(pick(rng, _DOINGS[figure.pose]) for figure in (first, second)))
        return _sentence(who, doings, *_surroundings(scene, rng, 0.85, 0.85, 0.4))
    figure = pick(rng, scene.figures)
    garment = pick(rng, _GARMENTS).format(figure.shirt) if rng.random() < 0.6 else ""
    others = pick(rng, ("beside others", "next to someone else")) if count > 1 and rng.random() < 0.5 else ""
    who, doing = pick(rng, _PEOPLE[figure.age, figure.gender]), pick(rng, _DOINGS[figure.pose])
    return _sentence(who, garment, doing, others, *_surroundings(scene, rng, 0.85, 0.85, 0.4))


def _surroundings(
    scene: Scene, rng: np.random.Generator, place: float, things: float, weather: float
) -> list[str]:
    """Phrases for the place, the objects and the weather, each with the given probability."""
    phrases = [pick(rng, _PLACES[scene.place])] if rng.random() < place else []
    named = [
        pick(rng, _OBJECTS[name]).format(scene.object_colour)
        for name in scene.objects
        if rng.random() < things
    ]
    if named:
        phrases.append(f"{pick(rng, ('with', 'near', 'next to'))} {' and '.join(named)}")
    if scene.place != "room" and rng.random() < weather:
        phrases.append(pick(rng, _WEATHERS[scene.weather]))
    if len(phrases) > 1 and rng.random() < 0.3:
        phrases = phrases[1:] + phrases[:1]
    return phrases


def _sentence(*phrases: str) -> str:
    text = " ".join(phrase for phrase in phrases if phrase)
    text = text.replace(" a orange", " an orange")
    return text[0].upper() + text[1:] + " ."
