"""A text file with the shape of every tensor."""

from catransformers.exports.formats import ExportFormat


def write(model, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shapes.txt"
    path.write_text("".join(f"{name} {tuple(tensor.shape)}\n" for name, tensor in model.net.state_dict().items()))
    return [path]


SHAPES = ExportFormat(write, (), "people")
