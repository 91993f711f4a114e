"""A Processing script for QGIS: segment a raster by words with the command line of rs_zeroseg.

In QGIS: Processing toolbox, the Python symbol, "Add script to toolbox", choose this file. The package stays in its own
environment; the algorithm asks for the program, e.g. /path/to/.venv/bin/rs_zeroseg, and hands the work over to it.
"""
import subprocess

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)


def command_line(program, image, words, out, threshold=None, shifts=1, vector=None, min_area=0):
    "The program and its arguments, as a list: nothing of it is read by a shell."
    args = [program, "segment", image, "--words", words, "--out", out, "--shifts", str(shifts)]
    if threshold is not None:
        args += ["--threshold", str(threshold)]
    if vector:
        args += ["--vector", vector, "--min-area", str(min_area)]
    return args


def run(args, feedback):
    "Run the program; its lines go to the log of QGIS. Raises QgsProcessingException with its last line if it fails."
    try:
        process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   encoding="utf-8", errors="replace")
    except OSError as error:
        raise QgsProcessingException(f"{args[0]}: could not be started ({error.strerror}); give the full path of "
                                     "rs_zeroseg in its environment") from None
    last = ""
    for line in process.stdout:                # a bar that is drawn anew ends with \r, which is a line end here, too
        last = line.strip() or last
        feedback.pushInfo(line.rstrip())
        if feedback.isCanceled():
            process.terminate()                # what was done is kept; the same request goes on from there
    if process.wait():
        raise QgsProcessingException("cancelled" if feedback.isCanceled() else last)


class SegmentByWords(QgsProcessingAlgorithm):
    "The algorithm as it stands in the toolbox."
    def createInstance(self):
        return SegmentByWords()

    def name(self):
        return "segment_by_words"

    def displayName(self):
        return "Segment by words (RS-ZeroSeg)"

    def shortHelpString(self):
        return ("Finds what the words name and writes a map: i for the i-th word, 0 none of them, 255 no data, with "
                "names and colours. Polygons have the word, the area in square metres and the mean probability.")

    def initAlgorithm(self, config=None):
        number = QgsProcessingParameterNumber
        for parameter in (
            QgsProcessingParameterRasterLayer("INPUT", "Image (red, green, blue)"),
            QgsProcessingParameterString("WORDS", "Words, separated by commas", "building,road,water,tree"),
            number("THRESHOLD", "Probability below which a pixel has no word", number.Double, None, True, 0, 1),
            number("SHIFTS", "Mean over so many shifted readings", number.Integer, 1, False, 1, 64),
            number("MIN_AREA", "Smallest polygon, square metres", number.Double, 0, False, 0),
            QgsProcessingParameterString("PROGRAM", "The program", "rs_zeroseg"),
            QgsProcessingParameterRasterDestination("OUTPUT", "Map"),
            QgsProcessingParameterVectorDestination(
                "VECTOR", "Polygons", QgsProcessing.TypeVectorPolygon, None, True, False),
        ):
            self.addParameter(parameter)

    def processAlgorithm(self, parameters, context, feedback):
        text = [self.parameterAsString(parameters, name, context) for name in ("PROGRAM", "WORDS")]
        image = self.parameterAsRasterLayer(parameters, "INPUT", context).source()
        out = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        vector = self.parameterAsOutputLayer(parameters, "VECTOR", context) if parameters.get("VECTOR") else None
        threshold = parameters.get("THRESHOLD")
        if threshold is not None:
            threshold = self.parameterAsDouble(parameters, "THRESHOLD", context)
        run(command_line(text[0], image, text[1], out, threshold, self.parameterAsInt(parameters, "SHIFTS", context),
                         vector, self.parameterAsDouble(parameters, "MIN_AREA", context)), feedback)
        return {"OUTPUT": out, "VECTOR": vector}
