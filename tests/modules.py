"Files of the project that are in no package, for tests."
import importlib.util


def module_at(path):
    "A Python file as a module."
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
