"""The benchmark datasets that can be imported.

File and variable names are those of the original publications and of the toolboxes through which
the files go around: the contests' own archives, the Matlab toolboxes S2FL (Hong et al., 2021) and
MDL-RS (Hong et al., 2020), the Multimodal Remote Sensing Toolkit, and the repositories that carry
single scenes. Counts are those of the publications cited, class by class.
"""

from __future__ import annotations

from types import MappingProxyType

from comix_cli.tools.importing.records import (
    LABELS,
    TEST,
    TRAIN,
    Dataset,
    ImagePart,
    LabelPart,
    Source,
)
from comix_cli.tools.importing.wavelengths import CASI_2012_NM, CASI_2017_NM

# The names of S2FL, of the Multimodal Remote Sensing Toolkit and of MDL-RS.
_S2FL_HSI = Source("data_HS_LR.mat", ("data_HS_LR",))
_S2FL_SAR = Source("data_SAR_HR.mat", ("data_SAR_HR",))
_S2FL_TRAIN = Source("TrainImage.mat", ("TrainImage",))
_S2FL_TEST = Source("TestImage.mat", ("TestImage",))
_PLAIN_HSI = Source("HSI.mat", ("HSI",))
_PLAIN_LIDAR = Source("LiDAR.mat", ("LiDAR",))
_PLAIN_TRAIN = Source("TRLabel.mat", ("TRLabel",))
_PLAIN_TEST = Source("TSLabel.mat", ("TSLabel",))

_S2FL_PAPER = (
    "D. Hong, J. Hu, J. Yao, J. Chanussot, X. X. Zhu: Multimodal remote sensing benchmark datasets "
    "for land cover classification with a shared and specific feature learning model. ISPRS "
    "Journal of Photogrammetry and Remote Sensing 178, 2021"
)

_HOUSTON2013_CLASSES = (
    "Healthy grass", "Stressed grass", "Synthetic grass", "Trees", "Soil", "Water", "Residential",
    "Commercial", "Road", "Highway", "Railway", "Parking lot 1", "Parking lot 2", "Tennis court",
    "Running track",
)  # fmt: skip

_HOUSTON2013 = Dataset(
    key="houston2013",
    title="IEEE GRSS Data Fusion Contest 2013, Houston",
    citation="C. Debes et al.: Hyperspectral and LiDAR data fusion: outcome of the 2013 GRSS Data "
    "Fusion Contest. IEEE JSTARS 7(6), 2014",
    classes=_HOUSTON2013_CLASSES,
    shape=(349, 1905),
    pixel_m=2.5,
    crs=None,
    images=(
        ImagePart(
            "hsi",
            144,
            (
                Source("2013_IEEE_GRSS_DF_Contest_CASI.tif"),
                Source("*_CASI_349_1905_144.mat"),
                _PLAIN_HSI,
                Source("Houston2013_HSI.mat", ("HSI",)),
                _S2FL_HSI,
                Source("HS_LR_Houston.mat", ("data_HS_LR",)),
                Source("Houston.mat", ("Houston", "img", "houston")),
            ),
            centres_nm=CASI_2012_NM,
            centres_from="2013_IEEE_GRSS_DF_Contest_CASI.hdr",
        ),
        ImagePart(
            "lidar",
            1,
            (
                Source("2013_IEEE_GRSS_DF_Contest_LiDAR.tif"),
                Source("2013_IEEE_GRSS_DF_Contest_LiDAR.mat", ("LiDAR_data",)),
                _PLAIN_LIDAR,
                Source("Houston2013_DSM.mat", ("DSM",)),
            ),
        ),
        ImagePart(
            "msi",
            8,
            (
                Source("data_MS_HR.mat", ("data_MS_HR",)),
                Source("MS_HR_Houston.mat", ("data_MS_HR",)),
            ),
        ),
    ),
    labels=(
        (
            LabelPart(
                TRAIN,
                (198, 190, 192, 188, 186, 182, 196, 191, 193, 191, 181, 192, 184, 181, 187),
                (
                    Source("*Samples_TR.tif"),
                    Source("*Samples_TR.txt"),
                    _PLAIN_TRAIN,
                    Source("Houston2013_TR.mat", ("TR_map",)),
                    _S2FL_TRAIN,
                ),
            ),
            LabelPart(
                TEST,
                (
                    1053,
                    1064,
                    505,
                    1056,
                    1056,
                    143,
                    1072,
                    1053,
                    1059,
                    1036,
                    1054,
                    1041,
                    285,
                    247,
                    473,
                ),
                (
                    Source("*Samples_VA.tif"),
                    Source("*Samples_VA.txt"),
                    _PLAIN_TEST,
                    Source("Houston2013_TE.mat", ("TE_map",)),
                    _S2FL_TEST,
                ),
            ),
        ),
    ),
)

_URBAN_8 = (
    "Forest", "Residential area", "Industrial area", "Low plants", "Soil", "Allotment",
    "Commercial area", "Water",
)  # fmt: skip

_BERLIN = Dataset(
    key="berlin",
    title="HS-SAR Berlin",
    citation=_S2FL_PAPER,
    classes=_URBAN_8,
    shape=(1723, 476),
    pixel_m=13.89,
    crs=None,
    images=(
        ImagePart("hsi", 244, (_S2FL_HSI,)),
        ImagePart("sar", 4, (_S2FL_SAR,)),
    ),
    labels=(
        (
            LabelPart(TRAIN, (443, 423, 499, 376, 331, 280, 298, 170), (_S2FL_TRAIN,)),
            LabelPart(
                TEST, (54511, 268219, 19067, 58906, 17095, 13025, 24526, 6502), (_S2FL_TEST,)
            ),
        ),
    ),
    remark="the HSI has pixels of 30 m that were repeated on the grid of the SAR image",
)

_AUGSBURG = Dataset(
    key="augsburg",
    title="HS-SAR-DSM Augsburg",
    citation=_S2FL_PAPER,
    classes=tuple(name for name in _URBAN_8 if name != "Soil"),
    shape=(332, 485),
    pixel_m=30.0,
    crs=None,
    images=(
        ImagePart("hsi", 180, (_S2FL_HSI,)),
        ImagePart("sar", 4, (_S2FL_SAR,)),
        ImagePart("dsm", 1, (Source("data_DSM.mat", ("data_DSM",)),)),
    ),
    labels=(
        (
            LabelPart(TRAIN, (146, 264, 21, 248, 52, 7, 23), (_S2FL_TRAIN,)),
            LabelPart(TEST, (13361, 30065, 3830, 26609, 523, 1638, 1507), (_S2FL_TEST,)),
        ),
    ),
)

_DFC2018_TRAIN = LabelPart(
    TRAIN,
    (39196, 130008, 2736, 54322, 20172, 18064, 1064, 158995, 894769, 183283, 136035, 6059, 185438,
     39438, 27748, 45932, 587, 26289, 21479, 27296),
    (Source("2018_IEEE_GRSS_DFC_GT_TR.tif"),),
)  # fmt: skip

_DFC2018 = Dataset(
    key="dfc2018",
    title="IEEE GRSS Data Fusion Contest 2018, Houston",
    citation="Y. Xu et al.: Advanced multi-sensor optical remote sensing for urban land use and "
    "land cover classification: outcome of the 2018 IEEE GRSS Data Fusion Contest. IEEE JSTARS "
    "12(6), 2019",
    classes=(
        "Healthy grass", "Stressed grass", "Artificial turf", "Evergreen trees",
        "Deciduous trees", "Bare earth", "Water", "Residential buildings",
        "Non-residential buildings", "Roads", "Sidewalks", "Crosswalks", "Major thoroughfares",
        "Highways", "Railways", "Paved parking lots", "Unpaved parking lots", "Cars", "Trains",
        "Stadium seats",
    ),
    shape=(1202, 4172),
    pixel_m=1.0,
    crs="EPSG:26915",
    images=(
        ImagePart(
            "hsi",
            48,
            (
                Source("20170218_UH_CASI_S4_NAD83.pix"),
                Source("20170218_UH_CASI_S4_NAD83.tif"),
                Source("20170218_UH_CASI_S4_NAD83.tiff"),
                Source("20170218_UH_CASI_S4_NAD83"),
            ),
            keep=48,
            centres_nm=CASI_2017_NM,
            centres_from="20170218_UH_CASI_S4_NAD83.hdr",
        ),
        ImagePart("lidar", 1, (Source("UH17c_GEF051.tif"),), unknown_above=1e10),
        ImagePart(
            "dtm", 1, (Source("UH17_GEG051.tif"), Source("UH17_GEG05.tif")), unknown_above=1e10
        ),
        ImagePart("intensity_1550nm", 1, (Source("UH17_GI1F051.tif"),), unknown_above=1e10),
        ImagePart("intensity_1064nm", 1, (Source("UH17_GI2F051.tif"),), unknown_above=1e10),
        ImagePart("intensity_532nm", 1, (Source("UH17_GI3F051.tif"),), unknown_above=1e10),
    ),
    labels=(
        (
            _DFC2018_TRAIN,
            LabelPart(
                TEST,
                (20000, 20000, 20000, 20000, 20000, 20000, 1628, 20000, 20000, 20000, 20000,
                 5345, 20000, 20000, 11232, 20000, 3524, 20000, 20000, 20000),
                (Source("Test_Labels.tif"),),
            ),
        ),
        (_DFC2018_TRAIN,),
    ),
    remark="bands 49 and 50 of the HSI are no spectrum and are left out; so is the RGB mosaic",
)  # fmt: skip

_TRENTO_TRAIN = (129, 125, 105, 154, 184, 122)
_TRENTO_TEST = (3905, 2778, 374, 8969, 10317, 3052)

_TRENTO = Dataset(
    key="trento",
    title="Trento",
    citation="P. Ghamisi, R. Souza, J. A. Benediktsson, X. X. Zhu, L. Rittner, R. A. Lotufo: "
    "Extinction profiles for the classification of remote sensing data. IEEE TGRS 54(10), 2016; "
    "data by L. Bruzzone, University of Trento",
    classes=("Apple trees", "Buildings", "Ground", "Woods", "Vineyard", "Roads"),
    shape=(166, 600),
    pixel_m=1.0,
    crs=None,
    images=(
        ImagePart(
            "hsi",
            63,
            (
                Source("Italy_hsi.mat", ("data",)),
                _PLAIN_HSI,
                Source("HSI_Trento.mat", ("HSI_Trento", "hsi_trento")),
            ),
        ),
        ImagePart(
            "lidar",
            None,
            (
                Source("Italy_lidar.mat", ("data",)),
                _PLAIN_LIDAR,
                Source("Lidar_Trento.mat", ("Lidar_Trento", "lidar_trento")),
            ),
        ),
    ),
    labels=(
        (
            LabelPart(TRAIN, _TRENTO_TRAIN, (_PLAIN_TRAIN,)),
            LabelPart(TEST, _TRENTO_TEST, (_PLAIN_TEST,)),
        ),
        (
            LabelPart(
                LABELS,
                tuple(a + b for a, b in zip(_TRENTO_TRAIN, _TRENTO_TEST, strict=True)),
                (
                    Source("allgrd.mat", ("mask_test",)),
                    Source("GT_Trento.mat", ("GT_Trento", "gt_trento")),
                    Source("gt.mat", ("gt",)),
                ),
            ),
        ),
    ),
)

_MUUFL_FILE = "muufl_gulfport_campus_1_hsi_220_label.mat"

_MUUFL = Dataset(
    key="muufl",
    title="MUUFL Gulfport",
    citation="P. Gader, A. Zare, R. Close, J. Aitken, G. Tuell: MUUFL Gulfport hyperspectral and "
    "LiDAR airborne data set. University of Florida, Rep. REP-2013-570, 2013; X. Du, A. Zare: "
    "Scene label ground truth map for MUUFL Gulfport data set. University of Florida, Tech. Rep. "
    "20170417, 2017",
    classes=(
        "Trees", "Mostly grass", "Mixed ground surface", "Dirt and sand", "Road", "Water",
        "Building shadow", "Building", "Sidewalk", "Yellow curb", "Cloth panels",
    ),
    shape=(325, 220),
    pixel_m=1.0,
    crs="EPSG:32616",
    images=(
        ImagePart(
            "hsi",
            64,
            (Source(_MUUFL_FILE, ("hsi.Data",)), _PLAIN_HSI),
            centres_from="hsi.info.wavelength",
            centres_variable="hsi.info.wavelength",
        ),
        ImagePart("lidar", 2, (Source(_MUUFL_FILE, ("hsi.Lidar.z",)), _PLAIN_LIDAR)),
    ),
    labels=(
        (
            LabelPart(
                LABELS,
                (23246, 4270, 6882, 1826, 6687, 466, 2233, 6240, 1385, 183, 269),
                (Source(_MUUFL_FILE, ("hsi.sceneLabels.labels",)), Source("gt.mat", ("gt",))),
            ),
        ),
    ),
    axes=("hsi.Easting", "hsi.Northing"),
    remark="the dataset has no official split into training and test pixels",
)  # fmt: skip

DATASETS = MappingProxyType(
    {
        dataset.key: dataset
        for dataset in (_HOUSTON2013, _BERLIN, _DFC2018, _TRENTO, _MUUFL, _AUGSBURG)
    }
)
