"""Who is enrolled: the folder of photos, the cache of templates, the gallery made from them, and checks of all three.

`enrolment.Enrolment` has the three of one group; `shared_enrolment.SharedEnrolment` stands in for it where nodes share a
database. `examination.examine` decides whether a photo can enrol somebody.
"""
