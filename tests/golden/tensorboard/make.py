"""Makes the events that TensorBoard's own writer makes of a few numbers and a text.

    pip install tensorboard==2.21.0
    python make.py

Wall times are given, so that the bytes are always the same.
"""

import io
import pathlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text import metadata
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = pathlib.Path(__file__).resolve().parent


def text(tag, markdown):
    tensor = TensorProto(
        dtype=DT_STRING,
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        string_val=[markdown.encode()],
    )
    described = metadata.create_summary_metadata("", "")
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=tensor)])


def scalar(tag, value):
    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def main():
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in [
        Event(wall_time=1700000000.25, file_version="brain.Event:2"),
        Event(wall_time=1700000000.25, step=0, summary=text("recipe", "```toml\nseed = 1\n\n```")),
        Event(wall_time=1700000001.5, step=1, summary=scalar("loss/token", 9.125)),
        Event(wall_time=1700000002.0, step=300, summary=scalar("step/learning_rate", 0.0004)),
        Event(wall_time=1700000003.0, step=300, summary=text("samples", "| é |")),
        Event(wall_time=1700000003.0, step=300, summary=scalar("epoch/saved", 0.0)),
    ]:
        writer.write(event.SerializeToString(deterministic=True))
    (HERE / "events.bin").write_bytes(file.getvalue())


if __name__ == "__main__":
    main()
