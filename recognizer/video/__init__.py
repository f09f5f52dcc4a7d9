"""Live video: cameras, an asyncio pipeline that finds, follows and names faces, and what comes out of it.

::

    async for result in watch("clip.mp4", people):
        for face in result.faces:
            print(face.track, face.subject, face.box)
"""
