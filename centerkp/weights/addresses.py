"""Where trained weights come from: the archives of TensorFlow's model zoo, by backbone."""

ZOO = "http://download.tensorflow.org/models/object_detection/tf2/"
# Keypoint models of COCO, by the side of the images they were trained on.
COCO_ARCHIVES = {
    "hourglass_104": {
        512: "20200711/centernet_hg104_512x512_kpts_coco17_tpu-32.tar.gz",
        1024: "20200711/centernet_hg104_1024x1024_kpts_coco17_tpu-32.tar.gz",
    },
    "resnet50_v1_fpn": {512: "20200711/centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8.tar.gz"},
    "resnet50_v2": {512: "20200711/centernet_resnet50_v2_512x512_kpts_coco17_tpu-8.tar.gz"},
    "mobilenetv2_fpn": {512: "20210210/centernet_mobilenetv2fpn_512x512_coco17_kpts.tar.gz"},
}


def find_archive(backbone: str, side: int) -> tuple[str, int]:
    """The zoo's address of the COCO model for images of `side` pixels, and its own side: the next below, or the least.

    Raises:
        ValueError: the zoo has none with this backbone.
    """
    if backbone not in COCO_ARCHIVES:
        raise ValueError(
            f"Weights coco: found backbone {backbone}, expected one that the model zoo has, {list(COCO_ARCHIVES)}; use one of "
            "those, or other weights."
        )
    sizes = COCO_ARCHIVES[backbone]
    size = max([one for one in sizes if one <= side], default=min(sizes))
    return ZOO + sizes[size], size
