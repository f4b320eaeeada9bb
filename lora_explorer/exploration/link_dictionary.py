"""What permalinks of version 1 are compressed with: text that they are likely to hold, the likeliest last.

Never to be changed: a link that was written with it can only be read with it. Settings that are declared later are not
in it and cost a few characters more; another dictionary is another version of the link.
"""

from __future__ import annotations

_RARE = (
    "embeddings_skip_upcast qlora_sharded_model_loading ple_cpu_offload model_quantization_config Mxfp4Config "
    "FineGrainedFP8Config gptq nf4_backend torchao nvfp4_merge_aware lora_on_cpu lora_fan_in_fan_out "
    "lora_fp32_gradients loftq_bits peft_ensure_weight_tying peft_trainable_token_indices peft_layer_replication "
    "peft_layers_pattern seed loraplus_lr_embedding loraplus_lr_ratio max_steps warmup_steps eager_attention "
    "sage_attention flex_attention xformers_attention sdp_attention flash_attention lora_embedding_kernel "
    "chunked_cross_entropy_num_chunks chunked_cross_entropy liger_cross_entropy fp16 bnb_4bit_use_double_quant "
    "peft_init_lora_weights pissa olora gaussian peft_autocast_adapter_dtype lora_alpha_pattern lora_rank_pattern "
    "use_reentrant max_grad_norm pad_to_sequence_len activation_offloading hidden_states offload layers"
)
_NAMES = (
    "T4 L4 L40S A100 40GB PCIe A100 80GB SXM H100 80GB SXM H200 141GB RTX 3090 RTX 5090 RTX 4090 "
    "deepseek-ai/DeepSeek-V3 openai/gpt-oss-20b google/gemma-3-12b-it microsoft/Phi-4-mini-instruct "
    "mistralai/Mistral-7B-v0.1 Qwen/Qwen2.5-7B-Instruct Qwen/Qwen3-30B-A3B Qwen/Qwen3-8B "
    "meta-llama/Llama-3.1-70B-Instruct meta-llama/Llama-3.2-1B NousResearch/Meta-Llama-3-8B meta-llama/Llama-3.1-8B"
)
_TARGETS = (
    'mlp.experts.gate_up_proj","mlp.experts.down_proj","lm_head","embed_tokens"],"lora_modules_to_save":["'
    '"query_key_value","dense_h_to_4h","dense_4h_to_h","dense","c_attn","c_proj","c_fc","qkv_proj","gate_up_proj",'
    '"gate_proj","up_proj","down_proj"],"q_proj","v_proj"],"q_proj","k_proj","v_proj","o_proj",'
    '"gate_proj","up_proj","down_proj"],'
)
_COMMON = (
    '"lora_target_parameters":["experts"],"peft_layers_to_transform":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,'
    '19,20,21,22,23,24,25,26,27,28,29,30,31],"lora_mlp_kernel":false,"lora_qkv_kernel":false,"lora_o_kernel":false,'
    '"quantize_moe_experts":true,"plugins":["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"],'
    '"axolotl.integrations.liger.LigerPlugin"],"liger_fused_linear_cross_entropy":true,"cut_cross_entropy":true,'
    '"gradient_checkpointing_kwargs":{"use_reentrant":false},"tf32":false,"bf16":true,"weight_decay":0.01,'
    '"warmup_ratio":0.1,"lr_scheduler":"linear","num_epochs":3.0,"peft_use_dora":true,"peft_use_rslora":true,'
    '"load_in_8bit":true,"optimizer":"adamw_torch","optimizer":"paged_adamw_8bit","optimizer":"adamw_bnb_8bit",'
)
# In the order in which a link has them.
_USUAL = (
    '{"s":{"base_model":"meta-llama/Meta-Llama-3-8B","load_in_4bit":true,"adapter":"qlora","adapter":"lora",'
    '"lora_r":8,"lora_r":64,"lora_r":16,"lora_r":32,"lora_alpha":64,"lora_alpha":32,"lora_alpha":16,'
    '"lora_dropout":0.05,"lora_target_linear":true,"lora_target_modules":["q_proj","sequence_len":2048,'
    '"sequence_len":4096,"micro_batch_size":2,"gradient_accumulation_steps":4,"learning_rate":0.0002,'
    '"sample_packing":true,"gradient_checkpointing":true,"attn_implementation":"flash_attention_2"},'
    '"c":"RTX 4090","a":1,"p":[["'
)

DICTIONARY_1 = "".join((_RARE, _NAMES, _TARGETS, _COMMON, _USUAL)).encode()
