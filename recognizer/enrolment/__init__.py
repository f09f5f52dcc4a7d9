"""Who is enrolled: the folder of photos, the cache of templates, the gallery made from them, and checks of all three."""
