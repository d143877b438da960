"""The kinds of what is found in a results file; docs/data.md lists all of them."""

from __future__ import annotations

from bench.data.findings import Kind

KEYS = ("image_id", "category_id", "segmentation", "score")

NO_OBJECT = Kind("result_no_object", "results that are no object", f"each must be one with {', '.join(KEYS)}")
NO_ID = Kind("result_id", "results whose ids can be none", "must be whole numbers or texts")
NO_SCORE = Kind("result_score", "results whose score is no finite number", "AP needs their order")
_EVERY = f"every result has {', '.join(KEYS)}"
NO_IMAGE = Kind("result_without_image", "results without image_id", _EVERY)
NO_CATEGORY = Kind("result_without_category", "results without category_id", _EVERY)
WITHOUT_SCORE = Kind("result_without_score", "results without score", _EVERY)
NO_MASK = Kind(
    "result_box_alone",
    "results without a segmentation",
    "mask AP compares masks, and a box is none; export the masks too",
)
BOXES_ALONE = Kind(
    "result_boxes_alone",
    "results with an empty segmentation beside a box that has an area, which is more than one in twenty",
    "so many masks are not empty, and a box is no mask; export the masks too, or leave out the bbox of an empty mask",
)
ALL_EMPTY = Kind(
    "result_all_empty",
    "results with an empty segmentation, which is all of them",
    "mask AP compares masks; export the masks too",
)
BAD_MASK = Kind("result_segmentation", "segmentations that are no mask of their image", "must be polygons or an RLE")
OTHER_SIZE = Kind(
    "result_size", "RLEs of another size than their image", "must be of the height and width in the annotation file"
)
SWAPPED_SIZE = Kind(
    "result_size_swapped",
    "RLEs of the size [width, height] of their image",
    "must be [height, width]; the masks were transposed, or made of an image that was turned",
)
OTHER_IMAGE = Kind(
    "result_other_image",
    "image_ids that are no image of the data set",
    "they look like those of another set; where they are of this one, give model.options.other_images=drop",
)
TWO_IMAGES = Kind(
    "result_ambiguous_image", "image_ids that are the name of several images", "must be the id or the whole file_name"
)
OTHER_CLASSES = Kind(
    "result_other_classes",
    "results of categories that the data set lacks, which is all of them",
    "must be ids of the data set's categories; model.options.category_offset=N adds N to each, and "
    "model.options.category_ids=index0 or model.options.category_ids=index1 reads each as a place in their order",
)
OWN_IMAGES = Kind(
    "result_own_images",
    "image_ids that are another file in the results file itself than in the data set",
    "must be those of the data set; model.options.image_ids=id reads the ids alone",
)
OWN_CATEGORIES = Kind(
    "result_own_categories",
    "categories that have a name in the results file by which they are no one class of the data set",
    "must have the names of the data set",
)

IDS_READ = Kind("result_ids", "results whose ids are written as 1.0 or as text", "read as whole numbers")
NAMED_CLASS = Kind(
    "result_named_class",
    "results whose category has another id or spelling in the data set",
    "found by the names of the categories in the results file",
)
BY_NAME = Kind("result_image_names", "results whose image_id is no id of an image", "found by the names of the files")
BY_SIZE = Kind(
    "result_image_sizes",
    "results whose image_id is the id of one image and the name of another",
    "read as the name, since the RLEs have the sizes of these images alone",
)
DROPPED_IMAGE = Kind("result_dropped_image", "results of images that the data set lacks", "left out")
ASKED_IMAGE = Kind(
    "result_asked_image",
    "results of images that the data set lacks",
    "left out, by model.options.other_images=drop",
    asked=True,
)
DROPPED_CLASS = Kind("result_dropped_class", "results of categories that the data set lacks", "left out")
EMPTY_MASK = Kind(
    "result_empty_mask",
    "results without an area (no polygon, or one of fewer than three points)",
    "read as empty masks",
)
EMPTY_BESIDE_BOX = Kind(
    "result_empty_beside_box",
    "results with an empty segmentation beside a box that has an area",
    "read as empty masks",
)
TEXT_SIZE = Kind("result_text_size", "RLEs whose size is written as text", "read as whole numbers")
STRAY_PART = Kind(
    "result_stray_part", "results with a polygon of fewer than three points beside a sound one", "it is left out"
)
FLAT_POLYGON = Kind("result_flat_polygon", "segmentations that are one list of numbers", "read as one polygon")
COCO_OBJECT = Kind("result_coco_object", "COCO object in place of a list", "its annotations are read as the results")

ABSENT = {"image_id": NO_IMAGE, "category_id": NO_CATEGORY, "segmentation": NO_MASK, "score": WITHOUT_SCORE}
"""The kind of results in which a key is absent or null."""
