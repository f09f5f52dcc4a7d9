"""Live video: cameras, an asyncio pipeline that finds, follows and names faces, and what comes out of it.

::

    with recognizer.open("known_faces") as people:
        async for result in people.watch("clip.mp4"):
            for face in result.faces:
                print(face.track, face.subject, face.box)
"""
