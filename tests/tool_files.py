"""Small label files as other tools write them, after their documentation, with the pictures that they are about.

Where the format can say so, a.png shows a rod from (4, 6) to (24, 26) with its tip at (6, 8) and its end at (20, 22).
"""

import json
from pathlib import Path

from coco_files import write_picture

BOX, TIP, END = (4.0, 6.0, 24.0, 26.0), (6.0, 8.0), (20.0, 22.0)


def labelme_shape(label, points, kind, group=None, **more) -> dict:
    return {"label": label, "points": [list(p) for p in points], "group_id": group, "shape_type": kind, "flags": {}} | more


def write_labelme(folder: Path, *, name="a", shapes=None, **more) -> Path:
    """A picture and its JSON, as labelme 5 writes it, with the image in it."""
    write_picture(folder / f"{name}.png", 1)
    if shapes is None:
        shapes = [labelme_shape("rod", [BOX[:2], BOX[2:]], "rectangle", 1), labelme_shape("tip", [TIP], "point", 1)]
        shapes.append(labelme_shape("end", [END], "point", 1, flags={"occluded": True}))
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png", "imageData": "iVBORw0KGgo=",
               "imageHeight": 30, "imageWidth": 40}  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content | more))
    return folder


def write_yolo(folder: Path) -> Path:
    """A dataset as Ultralytics documents it: data.yaml, images/train and labels/train; b.png has no label file."""
    for number, name in enumerate("ab", 1):
        write_picture(folder / "images" / "train" / f"{name}.png", number)
    (folder / "labels" / "train").mkdir(parents=True)
    center, points = [14 / 40, 16 / 30, 20 / 40, 20 / 30], [6 / 40, 8 / 30, 2, 20 / 40, 22 / 30, 1]
    (folder / "labels" / "train" / "a.txt").write_text("0 " + " ".join(map(str, center + points)) + "\n")
    text = "path: {}\ntrain: images/train\nval: images/val\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames:\n  0: rod\n"
    (folder / "data.yaml").write_text(text.format(folder) + "kpt_names:\n  0: [tip, end]\n")
    return folder / "data.yaml"


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><labels>
    <label><name>rod</name><type>skeleton</type><attributes></attributes>
      <svg>&lt;line x1="1" data-type="edge" data-node-from="1" data-node-to="2"&gt;&lt;/line&gt;&lt;circle
       data-type="element node" data-element-id="1" data-node-id="1" data-label-name="tip"&gt;&lt;/circle&gt;&lt;circle
       data-element-id="2" data-node-id="2" data-label-name="end"&gt;&lt;/circle&gt;</svg></label>
    <label><name>tip</name><type>points</type><parent>rod</parent></label>
    <label><name>end</name><type>points</type><parent>rod</parent></label>
    <label><name>nut</name><type>rectangle</type></label>
  </labels></job></meta>
  <image id="0" name="set\\a.png" width="40" height="30">
    <box label="rod" source="manual" occluded="0" xtl="4.00" ytl="6.00" xbr="24.00" ybr="26.00" z_order="0" group_id="7"></box>
    <skeleton label="rod" source="manual" z_order="0" group_id="7">
      <points label="end" source="manual" occluded="1" outside="0" points="20.00,22.00"></points>
      <points label="tip" source="manual" occluded="0" outside="0" points="6.00,8.00"></points>
    </skeleton>
    <box label="nut" source="manual" occluded="0" xtl="30.0" ytl="2.0" xbr="36.0" ybr="9.0" z_order="0"></box>
    <mask label="nut" rle="1, 2" left="1" top="1" width="2" height="2"></mask>
    <points label="hole" source="manual" occluded="0" points="33.00,5.00" z_order="0"></points>
  </image>
</annotations>
"""


def write_cvat(folder: Path, text: str = CVAT) -> Path:
    write_picture(folder / "images" / "a.png", 1)
    (folder / "annotations.xml").write_text(text)
    return folder / "annotations.xml"


def studio_region(key, kind, value, **more) -> dict:
    return {"id": key, "type": kind, "original_width": 40, "original_height": 30, "image_rotation": 0, "value": value} | more


def write_label_studio(folder: Path, regions=None) -> Path:
    """An export as JSON: coordinates in percent, a point under its rectangle by parentID, the other by a relation."""
    write_picture(folder / "images" / "a b.png", 1)
    box = {"x": 10, "y": 20, "width": 50, "height": 200 / 3, "rotation": 0, "rectanglelabels": ["rod"]}
    tip, end = ({"x": x / 0.4, "y": y / 0.3, "width": 1, "keypointlabels": [n]} for (x, y), n in ((TIP, "tip"), (END, "end")))
    regions = regions or [
        studio_region("R", "rectanglelabels", box),
        studio_region("T", "keypointlabels", tip, parentID="R"),
        studio_region("E", "keypointlabels", end),
        {"type": "relation", "from_id": "R", "to_id": "E", "direction": "right"},
    ]
    data = {"image": "/data/upload/3/0a1b2c3d-a%20b.png"}
    cancelled = {"id": 1, "was_cancelled": True, "result": []}
    tasks = [{"id": 1, "data": data, "annotations": [{"id": 2, "was_cancelled": False, "result": regions}, cancelled]}]
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return folder / "tasks.json"


VIA_REGIONS = [
    ({"name": "rect", "x": 4, "y": 6, "width": 20, "height": 20}, {"class": "rod", "group": "1"}),
    ({"name": "point", "cx": 6, "cy": 8}, {"class": "tip", "group": "1"}),
    ({"name": "point", "cx": 20, "cy": 22}, {"class": "end", "group": "1"}),
]


def write_via(folder: Path, regions=VIA_REGIONS) -> Path:
    write_picture(folder / "a.png", 1)
    entries = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in regions]
    images = {"a.png123": {"filename": "a.png", "size": 123, "regions": entries, "file_attributes": {}}}
    (folder / "via.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}}))
    return folder / "via.json"


def write_via_csv(folder: Path, regions=VIA_REGIONS) -> Path:
    write_picture(folder / "a.png", 1)
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for number, parts in enumerate(regions):
        cells = [json.dumps(part).replace('"', '""') for part in parts]
        lines.append(f'a.png,123,"{{}}",{len(regions)},{number},"{cells[0]}","{cells[1]}"')
    (folder / "via.csv").write_text("\n".join(lines) + "\n")
    return folder / "via.csv"


def write_deeplabcut(folder: Path) -> Path:
    """A project with one video, as DeepLabCut 2 and 3 keep it; the second image has no labelled end."""
    place = folder / "labeled-data" / "v"
    for number, name in enumerate(("img0", "img1"), 1):
        write_picture(place / f"{name}.png", number)
    (folder / "config.yaml").write_text("Task: rods\nscorer: me\nbodyparts:\n- tip\n- end\nskeleton:\n- - tip\n  - end\n")
    rows = ["scorer,,,me,me,me,me", "bodyparts,,,tip,tip,end,end", "coords,,,x,y,x,y", "labeled-data,v,img0.png,6,8,20,22"]
    rows.append("labeled-data,v,img1.png,10.5,12,,")
    (place / "CollectedData_me.csv").write_text("\n".join(rows) + "\n")
    return folder
